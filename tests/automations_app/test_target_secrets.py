"""What is taken out of targets stays with them, whatever staff do to the list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsite.manifest.automations import AutomationFile, AutomationSpec
from automations_app import deliveries
from automations_app.models import Automation, AutomationRun, Delivery
from automations_app.staff.forms import AutomationForm
from automations_app.sync import sync_agent
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
AGENT = "posting"
FIRST = {"type": "slack", "url": "https://hooks.example/first"}
SECOND = {"type": "slack", "url": "https://hooks.example/second"}
SIGNED = {"type": "webhook", "url": "https://a.example/in", "secret": "of-a"}
OTHER = {"type": "webhook", "url": "https://b.example/in", "secret": "of-b"}
HELD = "https://held.example/in-the-environment"


def load(*targets: dict[str, Any]) -> Automation:
    spec = AutomationSpec(title="T", prompt="P", delivery={"targets": targets})
    sync_agent(AGENT, (AutomationFile("it", spec),), {HELD})
    return Automation.objects.get(agent=AGENT, name="it")


def fill(row: Automation, *targets: dict[str, Any]) -> AutomationForm:
    """The form with these targets written into it."""
    shown = AutomationForm(row=row)
    sent = {name: shown[name].value() for name in shown.fields}
    given = {name: value for name, value in sent.items() if value not in (None, False)}
    return AutomationForm(
        {**given, "delivery": json.dumps({"targets": targets})}, row=row, secrets={HELD}
    )


def taken(form: AutomationForm) -> dict[str, Any]:
    """What is kept apart, once the form is good."""
    assert form.is_valid(), form.errors
    return dict(json.loads(form.columns["target_secrets"] or "{}"))


def bare(target: dict[str, Any]) -> dict[str, Any]:
    """As the form shows it."""
    return {
        k: v for k, v in target.items() if k != ("url" if target["type"] == "slack" else "secret")
    }


@requirement("automations.staff-edit", "automations.file-secrets")
def test_a_secret_goes_with_its_target_to_another_place() -> None:
    row = load(SIGNED, OTHER)
    assert taken(fill(row, bare(OTHER), bare(SIGNED))) == {
        "delivery.0": {"secret": "of-b"}, "delivery.1": {"secret": "of-a"},
    }  # fmt: skip
    assert taken(fill(row, bare(OTHER))) == {"delivery.0": {"secret": "of-b"}}
    two = load(FIRST, SECOND)
    assert taken(fill(two, {"type": "slack"}, {"type": "slack"}))["delivery.1"] == {
        "url": "https://hooks.example/second"
    }


@requirement("automations.staff-edit")
def test_a_changed_or_unclear_target_is_asked_for_its_secret() -> None:
    changed = {**bare(SIGNED), "url": "https://evil.example/in"}
    for form in (
        fill(load(SIGNED, OTHER), changed, bare(OTHER)),
        fill(load(FIRST, SECOND), {"type": "slack"}),  # which of the two?
    ):
        assert not form.is_valid()
        assert "again" in str(form.errors["delivery"])
    row = load(SIGNED, OTHER)
    assert taken(fill(row, {**changed, "secret": "new"}, bare(OTHER)))["delivery.0"] == {
        "secret": "new"
    }
    assert taken(fill(row, {**changed, "secret": None}, bare(OTHER))) == {
        "delivery.1": {"secret": "of-b"}
    }


@requirement("automations.staff-edit", "automations.file-secrets")
def test_what_the_environment_holds_is_not_shown_after_an_edit() -> None:
    row = load({"type": "webhook", "url": HELD})
    assert row.delivery == {"targets": [{"type": "webhook"}], "includeResult": True}
    form = fill(row, {"type": "webhook"})
    assert taken(form) == {"delivery.0": {"url": HELD}}
    assert form.columns["delivery"] == row.delivery
    other = fill(row, {"type": "webhook", "url": "https://new.example/typed-in"})
    assert taken(other) == {"delivery.0": {"url": "https://new.example/typed-in"}}
    assert "typed-in" not in json.dumps(other.columns["delivery"])


@requirement("automations.staff-edit")
def test_a_name_of_a_variable_is_no_secret() -> None:
    form = fill(load(SIGNED), {**SIGNED, "secret": "env:HOOK_SECRET"})
    assert not form.is_valid() and "Give the value" in str(form.errors["delivery"])
    typed = AutomationForm({"title": "T", "prompt": "P", "auth_secret": "env:HOOK"}, row=None)
    assert "auth_secret" in typed.errors


def deliver(row: Automation, place: int) -> Delivery:
    """A dead letter to one of its targets."""
    run = AutomationRun.objects.create(
        id=f"arun_{AutomationRun.objects.count()}", automation=row, cause="manual",
        status="success", run_id=f"run_{AutomationRun.objects.count()}",
    )  # fmt: skip
    deliveries.plan(run, "result")
    Delivery.objects.filter(automation_run=run).update(status="dead", next_try_at=None)
    return run.deliveries.get(target_index=place)


def claimed(key: str) -> deliveries.Claimed:
    """What would be sent now."""
    return next(each for each in deliveries.claim(50) if each.outgoing.id == key)


@requirement("automations.delivery-targets", "automations.delivery-dead-letters")
def test_a_replay_goes_to_its_own_target_or_to_none() -> None:
    letter = deliver(load(FIRST, SECOND), 0)
    load(SECOND)  # the first is gone, and the other looks like it and stands in its place
    with pytest.raises(deliveries.TargetChanged, match="no such target"):
        deliveries.replay(letter.pk)
    letter = deliver(load(SIGNED, OTHER), 0)
    load(OTHER, SIGNED)
    assert deliveries.replay(letter.pk)
    assert claimed(letter.pk).outgoing.target == SIGNED
    load(OTHER)
    Delivery.objects.update(status="pending", next_try_at=deliveries.Now(), attempts=0)
    refusal = claimed(letter.pk).refusal
    assert refusal is not None and refusal.problem == deliveries.CHANGED


@requirement("automations.delivery-targets")
def test_an_edited_target_and_a_new_secret_reach_what_waits() -> None:
    letter = deliver(load(SIGNED, OTHER), 0)
    edited = {**SIGNED, "url": "https://moved.example/in"}
    load(edited, OTHER)
    assert deliveries.replay(letter.pk)
    assert claimed(letter.pk).outgoing.target == edited
    load({**edited, "secret": "rotated"}, OTHER)
    Delivery.objects.update(next_try_at=deliveries.Now())
    assert claimed(letter.pk).outgoing.target["secret"] == "rotated"
    letter = deliver(load(FIRST, OTHER), 0)
    load(OTHER, edited)
    with pytest.raises(deliveries.TargetChanged):
        deliveries.replay(letter.pk)


@requirement("automations.delivery-retries")
def test_one_that_cannot_be_prepared_costs_no_other_its_attempt() -> None:
    row = load(SIGNED, {"type": "store", "store": "reports"}, OTHER)
    deliver(row, 0)
    Delivery.objects.update(status="pending", next_try_at=deliveries.Now())
    Delivery.objects.filter(target_index=2).update(kind="odd")
    Delivery.objects.filter(target_index=1).update(attempts=99)
    got = {each.outgoing.target.get("url", ""): each.refusal for each in deliveries.claim(50)}
    assert got[SIGNED["url"]] is None
    odd, worn = got[OTHER["url"]], got[""]
    assert odd is not None and odd.transient and "error of ours" in odd.problem
    assert worn is not None and not worn.transient and "Every process" in worn.problem
