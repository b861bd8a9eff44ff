"""What the sweep finds, and that nothing it stumbles over keeps it from the rest."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest

from agentsite.rows.tenancy import acting_for_all
from automations_app import rest
from automations_app.models import Automation, AutomationRun, Occurrence
from automations_app.overview import Overview
from automations_app.sweep import BATCH, Left, carry_on, find_left
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def make(name: str, **columns: Any) -> Automation:
    return Automation.objects.create(agent="a", name=name, title="T", prompt="P", **columns)


def queue(automation: Automation, name: str, minute: int | None = None, scope: str = "") -> None:
    """A queued run; of that minute's due time if one is given."""
    due = None
    if minute is not None:
        at = NOW + dt.timedelta(minutes=minute)
        due, _ = Occurrence.objects.get_or_create(automation=automation, due_at=at)
    AutomationRun.objects.create(
        id=name, automation=automation, scope_id=scope, occurrence=due,
        cause="manual" if due is None else "cron",
    )  # fmt: skip


@requirement("automations.sweep", "automations.queue")
def test_those_that_wait_for_their_turn_hide_no_other() -> None:
    slow, free = make("slow", overlap="queue"), make("free", overlap="allow")
    for minute in range(BATCH + 10):
        queue(slow, f"slow_{minute:02}", BATCH + 10 - minute)
    queue(slow, "other_scope", 3, scope="b")
    queue(slow, "by_hand")
    for minute in range(3):
        queue(free, f"free_{minute}", minute)
    free_ones = {"other_scope", "by_hand", "free_0", "free_1", "free_2"}
    last = f"slow_{BATCH + 9}"  # the earliest due time, begun last of all
    assert set(find_left().queued) == {last, *free_ones}
    AutomationRun.objects.filter(pk=last).update(status="running", run_id="run_1")
    assert set(find_left().queued) == free_ones
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    AutomationRun.objects.filter(pk="by_hand").update(claimed_until=soon)
    assert set(find_left().queued) == free_ones - {"by_hand"}


@requirement("automations.sweep")
async def test_one_that_cannot_be_carried_on_costs_no_other_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):  # there is no host here, so nothing can be started
        await carry_on(Left(("arun_1", "arun_2"), ("arun_3",)))
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "arun_1" in told and "arun_2" in told


@requirement("automations.health", "automations.listed")
def test_a_zone_that_is_gone_is_no_time_and_no_error() -> None:
    lost = make("lost", trigger="cron", schedule="0 9 * * *", timezone="Mars/Base")
    make("odd", trigger="cron", schedule="nonsense")
    make("fine", trigger="cron", schedule="0 9 * * *", timezone="UTC")
    assert rest.next_run(lost) is None
    overview = Overview()
    with acting_for_all("a test"):
        overview.read({"a"})
    assert [bool(each["nextRun"]) for each in overview.told] == [True, False, False]
