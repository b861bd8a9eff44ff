"""The admin's pages of automations: what operators look for, foreign text as text."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client as Browser

from agentsite.operations.models import AuditEntry
from automations_app.models import (
    Automation,
    AutomationRun,
    Delivery,
    InboundDelivery,
    Occurrence,
)
from automations_app.staff import editing
from automations_app.staff.facts import list_deliveries, list_of
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"


@requirement("automations.admin")
def test_every_page_shows_its_rows_and_runs_nothing(admin_client: Browser) -> None:
    automation = Automation.objects.create(
        agent="a", name="nightly", title="Night", prompt=EVIL, trigger="webhook",
        webhook_secret="hidden-secret", target_secrets='{"delivery.0": {"secret": "also"}}',
    )  # fmt: skip
    due = Occurrence.objects.create(automation=automation, due_at=dt.datetime.now(dt.UTC))
    inbound = InboundDelivery.objects.create(automation=automation, body=b"raw-body", headers={})
    run = AutomationRun.objects.create(
        id="arun_1", automation=automation, cause="webhook", inbound=inbound, occurrence=due,
        output=EVIL, event=EVIL, status="failed", error=EVIL,
    )  # fmt: skip
    sent = Delivery.objects.create(
        id="msg_1",
        automation_run=run,
        automation=automation,
        target_type="webhook",
        payload={"x": EVIL},
    )
    for row in (automation, due, inbound, run, sent):
        kind = f"/admin/automations_app/{row._meta.model_name}/"
        for path in (kind, f"{kind}{row.pk}/change/"):
            shown = admin_client.get(path)
            assert shown.status_code == 200, path
            page = shown.content.decode()
            assert "nightly" in page and EVIL not in page, path
            assert "hidden-secret" not in page and "raw-body" not in page, path
        assert admin_client.get(f"{kind}add/").status_code == 403


@requirement("automations.admin", "automations.delivery-dead-letters", "automations.webhook-replay")
def test_any_dead_letter_and_any_webhook_can_be_sent_again(admin_client: Browser) -> None:
    automation = Automation.objects.create(agent="a", name="n", title="N", prompt="P")
    run = AutomationRun.objects.create(id="arun_1", automation=automation, cause="manual")
    target = {"type": "callback", "name": "a.b"}
    for place, status in enumerate(("dead", "delivered", "dead")):
        Delivery.objects.create(
            id=f"msg_{place}", automation_run=run, automation=automation, target=target,
            target_index=place, target_type="callback", payload={}, status=status,
        )  # fmt: skip
    inbound = InboundDelivery.objects.create(automation=automation, body=b'{"n": 1}', headers={})
    for kind, action, keys in (
        ("delivery", "send_again", ["msg_0", "msg_1", "msg_2"]),
        ("inbounddelivery", "run_again", [inbound.pk]),
    ):
        sent = {"action": action, "_selected_action": keys}
        path = f"/admin/automations_app/{kind}/"
        assert admin_client.post(path, sent, follow=True).status_code == 200
    states = Delivery.objects.order_by("pk").values_list("status", flat=True)
    assert list(states) == ["pending", "delivered", "pending"]
    assert AutomationRun.objects.get(cause="webhook").event == '{\n  "n": 1\n}'
    noted = AuditEntry.objects.order_by("number").values_list("action", flat=True)
    assert list(noted) == ["automation.redelivered"] * 2 + ["automation.replayed"]


@requirement("automations.admin")
def test_dead_letters_are_shown_before_all_that_came_after_them(admin_client: Browser) -> None:
    automation = Automation.objects.create(agent="a", name="n", title="N", prompt="P")
    run = AutomationRun.objects.create(id="arun_1", automation=automation, cause="manual")
    Delivery.objects.bulk_create(
        Delivery(
            id=f"msg_{n:02}", automation_run=run, automation=automation, target_index=n,
            target_type="callback", payload={}, status="delivered" if n else "dead",
        )
        for n in range(30)
    )  # fmt: skip
    shown = [row.pk for row in list_deliveries(automation)]
    assert shown[0] == "msg_00" and len(shown) == 21
    page = admin_client.get(f"{list_of(automation, 'delivery')}&status__exact=dead")
    assert "msg_00" in page.content.decode() and "msg_29" not in page.content.decode()


@requirement("automations.staff-edit", "automations.delivery-dead-letters")
@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_written_down_is_not_done() -> None:
    automation = Automation.objects.create(agent="a", name="n", title="N", prompt="P")
    run = AutomationRun.objects.create(id="arun_1", automation=automation, cause="manual")
    sent = Delivery.objects.create(
        id="msg_1", automation_run=run, automation=automation, target_type="callback", payload={},
        status="dead",
    )  # fmt: skip
    nobody = User(pk=10**6, username="nobody")
    with pytest.raises(IntegrityError):
        editing.send_again(sent, nobody)
    sent.refresh_from_db()
    assert sent.status == "dead"
    inbound = InboundDelivery.objects.create(automation=automation, body=b"{}", headers={})
    with pytest.raises(IntegrityError):
        editing.replay_inbound(inbound, nobody)
    assert not AutomationRun.objects.filter(cause="webhook").exists()
