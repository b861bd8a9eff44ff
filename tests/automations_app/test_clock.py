"""When automations are due: every zone's changes, against an oracle; and their rows of beat."""

from __future__ import annotations

import datetime as dt
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from automations_app.clock import (
    arm,
    as_crontab,
    check_schedule,
    describe,
    disarm,
    due_times,
    next_times,
)
from automations_app.models import Automation
from tests.automations_app.zones import (
    AROUND,
    FIRST,
    HOUR,
    LAST,
    MINUTE,
    SCHEDULES,
    ZONES,
    changes,
    expected,
    read_clock,
)
from tests.requirements import requirement

BERLIN = ZoneInfo("Europe/Berlin")
NOON = dt.datetime(2026, 3, 28, 11, 0, tzinfo=dt.UTC)


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether every minute of the three years is looked at, not those around changes alone."""
    return bool(request.config.getoption("--whole-clock"))


def due(schedule: str, zone: str, first: dt.datetime, last: dt.datetime) -> list[dt.datetime]:
    """What the clock says of a stretch of time."""
    return list(takewhile(lambda at: at <= last, due_times(schedule, zone, first)))


@requirement("automations.clock")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("zone", ZONES)
def test_every_due_time_comes_once_around_every_change(zone: str, whole: bool) -> None:
    here = ZoneInfo(zone)
    around = [(at - AROUND, at + AROUND) for at in changes(here)]
    stretches = [(FIRST, LAST)] if whole else [*around, (NOON, NOON + AROUND)]
    for first, last in stretches:
        shown = read_clock(here, first, last)
        for schedule, fits in SCHEDULES.items():
            wanted = expected(shown, fits, first, last)
            assert due(schedule, zone, first, last) == wanted, (schedule, first)


def test_there_are_as_many_zones_and_kinds_of_change_as_were_asked_for() -> None:
    assert len(set(ZONES)) >= 40
    jumps = {
        ((at + HOUR).astimezone(zone).utcoffset() or dt.timedelta())
        - (at.astimezone(zone).utcoffset() or dt.timedelta())
        for zone in map(ZoneInfo, ZONES)
        for at in changes(zone)
    }
    assert {HOUR, -HOUR, HOUR / 2, -HOUR / 2} <= jumps


def test_a_time_that_is_left_out_runs_at_the_next_minute_and_one_that_comes_twice_once() -> None:
    spring = next_times("30 2 * * *", "Europe/Berlin", NOON, 2)
    assert [at.astimezone(BERLIN).isoformat() for at in spring] == [
        "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"
    ]  # fmt: skip
    autumn = next_times("30 2 * * *", "Europe/Berlin", NOON.replace(month=10, day=24), 2)
    assert [at.astimezone(BERLIN).isoformat() for at in autumn] == [
        "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"
    ]  # fmt: skip


def test_looking_again_from_any_moment_finds_the_same_times() -> None:
    change = dt.datetime(2026, 10, 25, 1, tzinfo=dt.UTC)
    every = due("*/7 * * * *", "Europe/Berlin", change - AROUND, change + AROUND)
    at = change - AROUND
    while at < change + AROUND:
        later = [time for time in every if time > at]
        assert due("*/7 * * * *", "Europe/Berlin", at, change + AROUND) == later
        at += MINUTE / 2


@pytest.mark.parametrize(
    ("schedule", "zone", "said"),
    [
        ("* * * *", "", "five fields"),
        ("0 0 * * * *", "", "five fields"),
        ("61 * * * *", "", "Bad minute"),
        ("0 0 31 2 *", "", "Bad day-of-month"),
        ("0 0 * * noday", "", "Bad day-of-week"),
        ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ("0 0 * * *", "../../etc/passwd", "no time zone"),
    ],
)
def test_what_cannot_be_used_is_said(schedule: str, zone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_schedule(schedule, zone)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("0 9 * * mon-fri", "At 09:00, Monday through Friday"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("30 2 L * *", "At 02:30, on the last day of the month"),
        ("0 0 1 * MON", "At 00:00, on day 1 of the month; and also at 00:00, only on Monday"),
    ],
)
def test_schedules_are_read_out(schedule: str, words: str) -> None:
    assert describe(schedule) == words


@pytest.mark.parametrize(
    "schedule",
    [*SCHEDULES, "0 9 * JAN-MAR FRI", "0 0 L * *", "0 0 LW * *", "0 9 * * MON#2", "0 9 * * 7",
     "0 9 * * 5L", "7/20 3 */10 * *"],
)  # fmt: skip
def test_beat_wakes_us_whenever_an_automation_is_due(schedule: str) -> None:
    columns = as_crontab(schedule)
    beats = crontab(**columns)
    for at in next_times(schedule, "UTC", FIRST, 200):
        # Celery counts weekdays from Sunday, as cron does.
        assert at.minute in beats.minute
        assert at.hour in beats.hour
        assert at.day in beats.day_of_month
        assert at.month in beats.month_of_year
        assert at.isoweekday() % 7 in beats.day_of_week


def make(**columns: object) -> Automation:
    """An automation of trigger cron, armed."""
    known: dict[str, object] = {
        "agent": "desk", "name": "report", "title": "Report", "prompt": "Go.", "trigger": "cron",
        "schedule": "0 9 * * *", "timezone": "Europe/Berlin",
    }  # fmt: skip
    automation = Automation.objects.create(**(known | columns))
    arm(automation, FIRST)
    return automation


@requirement("automations.beat-rows")
@pytest.mark.django_db
def test_beat_has_a_row_of_each_that_follows_it() -> None:
    automation = make()
    row = PeriodicTask.objects.get(pk=automation.periodic_task_id)
    assert (row.task, row.args, row.enabled) == (
        "automations_app.tasks.fire", f"[{automation.pk}]", True
    )  # fmt: skip
    assert (row.crontab.minute, row.crontab.hour, row.crontab.day_of_week) == ("0", "9", "*")
    assert str(row.crontab.timezone) == "Europe/Berlin"
    assert automation.armed_since == FIRST

    arm(automation, NOON)  # nothing has changed
    automation.refresh_from_db()
    assert automation.armed_since == FIRST

    automation.paused = True
    arm(automation, NOON)
    row.refresh_from_db()
    assert not row.enabled

    automation.paused, automation.schedule = False, "30 7 * * 1"
    arm(automation, LAST)
    automation.refresh_from_db()
    assert automation.armed_since == LAST
    row.refresh_from_db()
    assert (row.enabled, row.crontab.hour, row.crontab.minute) == (True, "7", "30")
    assert CrontabSchedule.objects.filter(hour="9", minute="0").count() == 0

    disarm(automation)
    automation.refresh_from_db()
    assert (automation.periodic_task_id, automation.armed_since) == (None, None)
    assert not PeriodicTask.objects.filter(pk=row.pk).exists()


@requirement("automations.beat-rows")
@pytest.mark.django_db
def test_equal_rows_of_beat_that_others_made_are_no_obstacle() -> None:
    columns = {"timezone": "Europe/Berlin", **as_crontab("0 9 * * *")}
    first = CrontabSchedule.objects.create(**columns)
    CrontabSchedule.objects.create(**columns)
    assert PeriodicTask.objects.get(pk=make().periodic_task_id).crontab == first


@requirement("automations.zone")
@pytest.mark.django_db
def test_automations_may_share_a_crontab_and_the_sites_zone_is_the_default() -> None:
    first, second = make(timezone=""), make(name="other", timezone="")
    rows = PeriodicTask.objects.filter(task="automations_app.tasks.fire")
    assert {row.crontab_id for row in rows} == {rows[0].crontab_id}
    assert str(rows[0].crontab.timezone) == "UTC"
    second.trigger = Automation.Trigger.MANUAL
    arm(second, NOON)
    assert rows.all().count() == 1
    assert CrontabSchedule.objects.filter(pk=rows[0].crontab_id).exists()
    with pytest.raises(ValueError, match="Bad minute"):
        first.schedule = "99 * * * *"
        arm(first, NOON)
