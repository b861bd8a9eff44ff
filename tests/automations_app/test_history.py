"""What is kept of automations, and what goes when its time is over."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db.models import F

from automations_app import history
from automations_app.due import claim_due, find_due
from automations_app.models import (
    Automation,
    AutomationRun,
    Delivery,
    InboundDelivery,
    Occurrence,
)
from sessions_app.models import Message, ModelCall, Session
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db(transaction=True)
DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 11, 30, 12, 30, tzinfo=dt.UTC)


@pytest.fixture
def reports() -> Automation:
    """Due each noon, for five days."""
    return Automation.objects.create(
        agent="desk", name="reports", prompt="Go.", trigger="cron", schedule="0 12 * * *",
        overlap="allow", catch_up="all", timezone="UTC", armed_since=NOW - 5 * DAY,
    )  # fmt: skip


def add(automation: Automation, name: str, **columns: Any) -> AutomationRun:
    """A run by hand that has ended."""
    given = {"status": "success", "ended_at": NOW, "run_id": name, **columns}
    return AutomationRun.objects.create(id=name, automation=automation, cause="manual", **given)


def age(days: float) -> None:
    """Let everything be so much older."""
    past = dt.timedelta(days=days)
    AutomationRun.objects.update(created_at=F("created_at") - past, ended_at=F("ended_at") - past)
    InboundDelivery.objects.update(received_at=F("received_at") - past)
    Occurrence.objects.update(claimed_at=F("claimed_at") - past)


def kept() -> set[str]:
    return set(AutomationRun.objects.values_list("pk", flat=True))


@requirement("automations.retention")
def test_what_has_ended_goes_and_what_is_to_happen_stays(reports: Automation) -> None:
    inbound = [
        InboundDelivery.objects.create(automation=reports, sender_id=f"m{n}", body=b"{}")
        for n in range(5)
    ]
    for number in range(3):
        add(reports, f"ended{number}", inbound=inbound[number])
    AutomationRun.objects.filter(pk="ended1").update(retry_of="ended0")
    delivered, waits = add(reports, "delivered"), add(reports, "waits")
    for run, status in ((delivered, "delivered"), (delivered, "dead"), (waits, "pending")):
        Delivery.objects.create(
            id=f"msg_{status}", automation_run=run, automation=reports, status=status,
            target_type="webhook", target_index=len(status), payload={},
        )  # fmt: skip
    for status in AutomationRun.OPEN:
        add(reports, status, status=status, ended_at=None, inbound=inbound[3])
    age(100)
    young = add(
        reports, "young", inbound=InboundDelivery.objects.create(automation=reports, body=b"")
    )
    add(reports, "newest", ended_at=young.ended_at)
    assert history.forget(90 * DAY, step=2) == 4 + 4
    assert kept() == {"waits", "queued", "running", "waiting", "young", "newest"}
    assert [row.pk for row in Delivery.objects.all()] == ["msg_pending"]
    assert InboundDelivery.objects.count() == 2
    age(100)
    AutomationRun.objects.update(status="success", ended_at=NOW - 100 * DAY)
    Delivery.objects.update(status="dead")
    history.forget(90 * DAY)
    assert kept() == {"newest"}  # which lists tell of


@requirement("automations.retention", "automations.continuity")
def test_what_the_next_run_is_told_of_stays_in_each_partition(reports: Automation) -> None:
    for scope in ("a", "b"):
        add(reports, f"{scope}-old", scope_id=scope, ended_at=NOW - DAY)
        add(reports, f"{scope}-good", scope_id=scope)
        add(reports, f"{scope}-bad", scope_id=scope, status="failed", ended_at=NOW + DAY)
    add(reports, "newest", status="failed")
    age(100)
    history.forget(90 * DAY)
    assert kept() == {"a-good", "b-good", "newest"}


@requirement("automations.retention")
def test_what_was_said_goes_with_its_run_and_what_it_cost_stays(reports: Automation) -> None:
    kept_open = make_session(0, status="active")
    said = {name: make_session(0, status="archived") for name in ("old", "newest")}
    for name, session in {**said, "open": kept_open}.items():
        run = make_run(session)
        add(reports, f"arun_{name}", session_id=session.pk, run_id=run.pk)
    age(100)
    add(reports, "arun_young", created_at=NOW, status="failed")
    AutomationRun.objects.filter(pk="arun_newest").update(created_at=F("created_at") + DAY / 2)
    history.forget(90 * DAY)
    assert kept() == {"arun_newest", "arun_young"}
    said["old"].refresh_from_db()
    assert said["old"].status == "expired"
    left = set(Message.objects.values_list("session", flat=True))
    assert left == {said["newest"].pk, kept_open.pk}
    assert said["old"].runs.get().request == {}
    assert ModelCall.objects.filter(session_id=said["old"].pk).exists()


@requirement("automations.retention")
def test_what_was_said_goes_although_its_run_went_before(reports: Automation) -> None:
    of = {"session_type": "automation", "status": "archived"}
    old, young = 100 * 86_400, 80 * 86_400
    left = [make_session(old, **of) for _ in range(3)]
    known = make_session(old, **of)
    add(reports, "newest", session_id=known.pk)
    forked = make_session(old, **of)
    others = [
        make_session(young, **of),
        make_session(old, **{**of, "status": "active"}),
        make_session(old, **{**of, "session_type": "chat"}),
    ]
    for session in (*left, known, *others):
        make_run(session)
    make_run(forked, copy_of="run_of_another")
    assert history.forget(90 * DAY, step=2) == 3
    expired = Session.objects.filter(status="expired").values_list("pk", flat=True)
    assert set(expired) == {session.pk for session in left}
    kept_words = set(Message.objects.values_list("session", flat=True))
    assert kept_words == {session.pk for session in (known, forked, *others)}
    assert history.forget(90 * DAY) == 0


@requirement("automations.retention")
def test_no_due_time_comes_again_when_its_row_is_gone(reports: Automation) -> None:
    claim_due(reports.pk, NOW, "a test")
    assert Occurrence.objects.count() == 5
    AutomationRun.objects.update(status="success", ended_at=NOW)
    Occurrence.objects.update(due_at=F("due_at") - 100 * DAY)
    Automation.objects.update(armed_since=F("armed_since") - 100 * DAY)
    age(100)
    later = NOW - 100 * DAY
    assert find_due(later) == []
    history.forget(90 * DAY)
    assert Occurrence.objects.count() == 1
    assert find_due(later) == []
    assert claim_due(reports.pk, later, "a test") == []
