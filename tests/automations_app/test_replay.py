"""A webhook is replayed as it came; what replays refer to goes with its partition."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from agentsite.rows.tenants import erase_partition
from automations_app import webhooks
from automations_app.inbound import BadEvent
from automations_app.models import Automation, AutomationRun, InboundDelivery
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)


def store(automation: Automation, body: bytes, **headers: str) -> InboundDelivery:
    return InboundDelivery.objects.create(
        automation=automation, scope_id=automation.partition, sender_id="msg_1", body=body,
        headers=headers, answer_status=200, answer={"status": "completed"},
    )  # fmt: skip


def make(**columns: Any) -> Automation:
    given = {"agent": "desk", "name": "hook", "title": "A", "prompt": "Go.", "trigger": "webhook"}
    return Automation.objects.create(**{**given, **columns})


@requirement("automations.webhook-replay")
def test_a_replay_is_a_new_run_of_the_original_payload() -> None:
    first = store(make(partition="acme"), b'{"n": 1}', **{":path": "/webhooks/hook"})
    runs = [webhooks.replay(first.pk, "ann") for _ in range(2)]
    assert len(set(runs)) == 2
    for row in AutomationRun.objects.all():
        assert (row.cause, row.status, row.scope_id) == ("webhook", "queued", "acme")
        assert (row.requested_by, row.event, row.claimed_until) == ("ann", '{\n  "n": 1\n}', None)
        again = row.inbound
        assert again is not None
        assert (again.replay_of, bytes(again.body)) == (first, b'{"n": 1}')
        assert again.sender_id is None
    first.refresh_from_db()
    assert (first.answer_status, first.runs.count()) == (200, 0)
    bare = store(
        make(name="bare"), b'{"automation": "bare", "data": [5]}', **{":path": "/webhooks"}
    )
    assert AutomationRun.objects.get(pk=webhooks.replay(bare.pk, "ann")).event == "[\n  5\n]"
    form = store(
        make(name="form"), b"payload=%7B%22a%22%3A1%7D&x=1",
        **{":path": "/webhooks/form", "Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    event = AutomationRun.objects.get(pk=webhooks.replay(form.pk, "ann")).event
    assert event == '{\n  "payload": "{\\"a\\":1}",\n  "x": "1"\n}'
    each = store(make(name="each", partition="each"), b"{}", **{":path": "/webhooks/each"})
    with pytest.raises(BadEvent, match="No scope is known"):
        webhooks.replay(each.pk, "ann")
    assert InboundDelivery.objects.filter(replay_of=each).count() == 0


@requirement("scope.erase")
def test_a_partition_goes_although_others_refer_to_its_webhooks() -> None:
    automation = make()
    first = store(automation, b"{}")
    InboundDelivery.objects.bulk_create(
        InboundDelivery(automation=automation, body=b"{}", headers={}, replay_of=first)
        for _ in range(600)
    )
    other = AutomationRun.objects.create(
        id="arun_1", automation=automation, scope_id="acme", cause="webhook", inbound=first
    )
    gone = erase_partition("desk", "")
    assert gone == {"automations_app.inbounddelivery": 601}
    connection.check_constraints()
    other.refresh_from_db()
    assert other.inbound is None
