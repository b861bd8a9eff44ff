"""Webhooks that are stored together: each once, and none suffers from another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import OperationalError

from agentsite.host.errors import Refusal
from automations_app.admission import (
    Admitted,
    Again,
    Arrived,
    Genuine,
    admit,
    judge,
    store,
)
from automations_app.answers import Answer, compose
from automations_app.events import show_event
from automations_app.inbound import BadEvent
from automations_app.models import Automation, AutomationRun, InboundDelivery
from automations_app.webhooks import replay
from sessions_app.scopes import save_credentials
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)


def genuine(automation: Automation, sender_id: str | None, note: str = "", n: int = 0) -> Genuine:
    """One whose sender was believed; its body is its number."""
    headers = {"content-type": "application/json", "x-note": note}
    arrived = Arrived("desk", automation.name, "/webhooks/hook", headers, b"%d" % n, True)
    return Genuine(automation, arrived, sender_id, n, str(n), is_async=True)


@pytest.fixture
def hook() -> Automation:
    return Automation.objects.create(agent="desk", name="hook", prompt="Go.", trigger="webhook")


@requirement("automations.webhook-once", "automations.webhook-durable")
def test_a_load_stores_each_delivery_once_with_its_run(hook: Automation) -> None:
    other = Automation.objects.create(agent="desk", name="other", prompt="Go.", partition="acme")
    load = [
        genuine(hook, "m1", n=1), genuine(hook, None, n=2), genuine(hook, "m1", n=3),
        genuine(other, "m1", n=4), genuine(hook, None, n=5), genuine(hook, "m0", n=6),
    ]  # fmt: skip
    told = store(load)
    again = [place for place, one in enumerate(told) if isinstance(one, Admitted) and not one.runs]
    assert again in ([0], [2])  # one of the two that are the same
    first = told[2 - again[0]]
    assert isinstance(first, Admitted)
    assert told[again[0]] == Admitted(answer=first.answer)
    stored = [one for place, one in enumerate(told) if place not in again]
    assert all(isinstance(one, Admitted) and one.inbound_id and one.answer for one in stored)
    for row in InboundDelivery.objects.all():  # each run has the payload of its own delivery
        (run,) = row.runs.all()
        assert run.event == bytes(row.body).decode()
        assert (run.automation_id, run.scope_id) == (row.automation_id, row.scope_id)
        assert run.claimed_until is not None
    assert AutomationRun.objects.filter(scope_id="acme").get().automation_id == other.pk
    later = store(load)
    assert [isinstance(one, Admitted) and bool(one.runs) for one in later] == [
        False, True, False, False, True, False,
    ]  # fmt: skip
    for place in (3, 5):
        earlier = told[place]
        assert isinstance(earlier, Admitted) and later[place] == Admitted(answer=earlier.answer)
    assert (InboundDelivery.objects.count(), AutomationRun.objects.count()) == (7, 7)


def came(automation: Automation, body: bytes = b"{}", sender_id: str = "") -> Arrived:
    """A request to it."""
    headers = {"webhook-id": sender_id} if sender_id else {}
    headers |= {"content-type": "application/json", "x-github-delivery": sender_id}
    return Arrived("desk", automation.name, "/webhooks/hook", headers, body, False)


@requirement("automations.webhook-refusals")
def test_a_payload_that_is_nested_too_deeply_is_its_senders_fault(hook: Automation) -> None:
    event: list[object] = []
    for _ in range(5_000):
        event = [event]
    with pytest.raises(BadEvent):
        show_event(event)
    deep = b"[" * 100_000 + b"]" * 100_000
    (outcome,) = admit([came(hook, deep)])
    assert isinstance(outcome, Refusal) and (outcome.status, outcome.code) == (400, "invalid_event")


@requirement("automations.webhook-refusals", "automations.partitions")
def test_one_for_each_scope_where_none_is_known_is_not_done() -> None:
    each = Automation.objects.create(
        agent="desk", name="each", prompt="Go.", trigger="webhook", partition="each"
    )
    with pytest.raises(Refusal) as refused:
        judge(each, came(each))
    assert (refused.value.status, refused.value.code) == (503, "no_scope")


@requirement("automations.webhook-once")
def test_what_is_known_is_answered_as_it_was_or_by_its_runs(hook: Automation) -> None:
    waits = genuine(hook, "m1")._replace(is_async=False)
    (first,) = store([waits])
    assert isinstance(first, Admitted) and first.runs and first.answer is None
    assert store([waits, genuine(hook, "m2")])[0] == Admitted(again=Again(hook.pk, "m1"))
    row = InboundDelivery.objects.get(sender_id="m1")
    row.answer_status, row.answer = 500, {"error": {"code": "run_failed", "message": "Ünfit."}}
    row.save()
    assert store([waits]) == [Admitted(answer=Answer(500, row.answer))]


@requirement("automations.webhook-durable")
def test_what_is_stored_is_answered_although_earlier_answers_cannot_be_read(
    hook: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store([genuine(hook, "m1")])

    def fail(known: object) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr("automations_app.answers.find_given", fail)
    again, new = store([genuine(hook, "m1"), genuine(hook, None)])
    assert again == Admitted(again=Again(hook.pk, "m1"))
    assert isinstance(new, Admitted) and new.runs and new.answer
    assert InboundDelivery.objects.count() == 2


@requirement("automations.webhook-once")
def test_a_known_delivery_gets_its_answer_although_nothing_runs_now(hook: Automation) -> None:
    store([genuine(hook, "m1", n=1)])
    Automation.objects.update(paused=True)
    hook.refresh_from_db()
    assert judge(hook, came(hook, sender_id="m1")) == Admitted(again=Again(hook.pk, "m1"))
    with pytest.raises(Refusal) as refused:
        judge(hook, came(hook, sender_id="m2"))
    assert (refused.value.status, refused.value.code) == (503, "automation_paused")


@requirement("automations.webhook-once")
def test_an_answer_says_what_its_runs_have_come_to(hook: Automation) -> None:
    parked = AutomationRun(id="arun_1", automation=hook, status="waiting")
    assert compose("hook", [parked]).body["status"] == "running"
    assert compose("hook", []).status == 500


@requirement("automations.webhook-durable")
def test_what_cannot_be_stored_costs_no_other(hook: Automation) -> None:
    gone = Automation(pk=hook.pk + 1_000, agent="desk", name="gone")  # deleted at this moment
    bad, lost = genuine(hook, "m2", "a\0b"), genuine(gone, "m3")
    told = store([genuine(hook, "m1"), bad, lost, genuine(hook, "m4")])
    assert [isinstance(one, Admitted) for one in told] == [True, False, False, True]
    assert [one.status for one in told if isinstance(one, Refusal)] == [400, 404]
    assert set(InboundDelivery.objects.values_list("sender_id", flat=True)) == {"m1", "m4"}
    assert AutomationRun.objects.count() == 2


@requirement("automations.webhook-durable", "automations.webhook-refusals")
def test_what_cannot_be_shown_in_a_scope_costs_no_other(hook: Automation, settings: Any) -> None:
    settings.AGENT_SECRET_KEYS = [Fernet.generate_key().decode()]
    save_credentials("desk", "acme", {"PIN": "hunter2-of-acme"})
    scoped = Automation.objects.create(
        agent="desk", name="scoped", prompt="Go.", trigger="webhook", partition="acme"
    )
    event: list[object] = []
    for _ in range(5_000):
        event = [event]
    # Its sender's payload could be shown before: taking the scope's secrets out goes deeper.
    deep = Genuine(scoped, came(scoped), "m2", event, "[]", is_async=True)
    told = store([genuine(hook, "m1"), deep, genuine(hook, "m3")])
    assert [isinstance(one, Admitted) for one in told] == [True, False, True]
    refused = told[1]
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (400, "invalid_event")
    assert "nested too deeply" in str(refused)
    assert set(InboundDelivery.objects.values_list("sender_id", flat=True)) == {"m1", "m3"}


@requirement("scope.canary", "automations.partitions")
def test_runs_show_an_event_without_the_credentials_of_their_own_scope(settings: Any) -> None:
    settings.AGENT_SECRET_KEYS = [Fernet.generate_key().decode()]
    save_credentials("desk", "one", {"PIN": "hunter2-of-one"})
    save_credentials("desk", "two", {"PIN": 'two "quoted" <pin>'})
    each = Automation.objects.create(
        agent="desk", name="each", prompt="Go.", trigger="webhook", partition="each", mode="async"
    )
    event = {"a": "x hunter2-of-one", "b": ['two "quoted" <pin>']}
    body = json.dumps(event).encode()
    one = Genuine(each, came(each, body), None, event, show_event(event), is_async=True)
    (outcome,) = store([one])
    assert isinstance(outcome, Admitted)
    shown = dict(AutomationRun.objects.values_list("scope_id", "event"))
    assert json.loads(shown["one"]) == {"a": "x [REDACTED]", "b": ['two "quoted" <pin>']}
    assert json.loads(shown["two"]) == {"a": "x hunter2-of-one", "b": ["[REDACTED]"]}
    row = InboundDelivery.objects.get()
    assert bytes(row.body) == body
    replay(row.pk, "ada")
    again = AutomationRun.objects.filter(requested_by="ada").values_list("scope_id", "event")
    assert dict(again) == shown
