"""When an automation is due, and its rows of celery-beat.

Law: what is due is decided by `next_times` alone. Every minute of the wall clock counts once: one
that does not exist runs at the next that does, one that occurs twice runs the first time. Beat
evaluates crontabs otherwise, so its rows only wake us: they are due whenever we may be.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from functools import cache
from typing import cast
from zoneinfo import ZoneInfo

from cron_descriptor import Options, get_description
from cronsim import CronSim, CronSimError
from django.conf import settings
from django.db import transaction
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

from automations_app.models import Automation

FIRE = "automations_app.tasks.fire"
"""Name of the task that beat sends for one automation."""
MINUTE = dt.timedelta(minutes=1)
_EPOCH = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - a time of the wall clock


def check_schedule(schedule: str, timezone: str) -> None:
    """Raise `ValueError` with a sentence unless both can be used; an empty zone is the site's."""
    if len(schedule.split()) != 5:
        raise ValueError(
            "A schedule has five fields: minute, hour, day of month, month, day of week."
        )
    try:
        CronSim(schedule, _EPOCH)
    except CronSimError as problem:
        raise ValueError(f"This is not a cron expression: {problem}.") from None
    if not next_times(schedule, "UTC", _EPOCH.replace(tzinfo=dt.UTC), 1):
        raise ValueError("This schedule never comes.")
    find_zone(timezone)


def find_zone(timezone: str) -> ZoneInfo:
    """The zone of an IANA name, the site's for the empty one. Raises `ValueError`."""
    name = timezone or settings.TIME_ZONE
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone; one is named like Europe/Berlin or UTC."
        ) from None


def next_times(schedule: str, timezone: str, after: dt.datetime, count: int) -> list[dt.datetime]:
    """The next `count` due times later than `after`, in UTC and ascending; fewer if no more come.

    `schedule` has five fields; raises `ValueError` for a zone and `CronSimError` for a schedule
    that do not exist.
    """
    found: list[dt.datetime] = []
    for due in due_times(schedule, timezone, after):
        found.append(due)
        if len(found) == count:
            break
    return found


def due_times(schedule: str, timezone: str, after: dt.datetime) -> Iterator[dt.datetime]:
    """All due times later than `after`, for ever."""
    zone = find_zone(timezone)
    last = after.astimezone(dt.UTC)
    for wall in CronSim(schedule, last.astimezone(zone).replace(tzinfo=None)):
        due = _in_time(wall, zone)
        if due > last:  # in a gap many fall on one; in the hour that comes twice some are past
            last = due
            yield due


def _in_time(wall: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The moment at which the wall clock first shows `wall` or, if never, the next minute."""
    while True:
        moment = wall.replace(tzinfo=zone).astimezone(dt.UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall:
            return moment
        wall += MINUTE


def describe(schedule: str) -> str:
    """The schedule in plain language. Raises `ValueError`."""
    check_schedule(schedule, "UTC")
    minute, hour, day, month, weekday = schedule.upper().split()
    if CronSim(schedule, _EPOCH).day_and:
        return _read_out(f"{minute} {hour} {day} {month} {weekday}")
    days = _read_out(f"{minute} {hour} {day} {month} *")
    weekdays = _read_out(f"{minute} {hour} * {month} {weekday}")
    return f"{days}; and also {weekdays[0].lower()}{weekdays[1:]}"


def _read_out(schedule: str) -> str:
    options = Options()
    options.use_24hour_time_format = True
    return str(get_description(schedule, options))


# -- Rows of celery-beat -------------------------------------------------------------------


def arm(automation: Automation, now: dt.datetime | None = None) -> None:
    """Let beat know of an automation as it is now; call it after every change of one.

    Due times count from the moment it was made, resumed or rescheduled. Raises `ValueError` for a
    schedule that cannot be used.
    """
    if automation.trigger != Automation.Trigger.CRON:
        disarm(automation)
        return
    check_schedule(automation.schedule, automation.timezone)
    zone = find_zone(automation.timezone).key
    enabled = not automation.paused
    meaning = f"{automation.schedule} in {zone}. Owned by its automation; change it there."
    with transaction.atomic():
        before = _task_of(automation)
        if before is not None and (before.enabled, before.description) == (enabled, meaning):
            return
        columns = {"timezone": zone, **as_crontab(automation.schedule)}
        # No constraint keeps two equal rows of beat apart: others, and a race, may have made them.
        equal = CrontabSchedule.objects.filter(**columns).order_by("pk")
        row = equal.first() or CrontabSchedule.objects.create(**columns)
        values = {
            "task": FIRE,
            "crontab": row,
            "args": json.dumps([automation.pk]),
            "enabled": enabled,
            "description": meaning,
        }
        if before is None:
            name = f"Automation {automation.pk}: {automation.agent}/{automation.name}"[:200]
            task_id = PeriodicTask.objects.create(name=name, **values).pk
        else:
            task_id = before.pk
            PeriodicTask.objects.filter(pk=task_id).update(**values)
            _forget_crontab(before.crontab_id)
        PeriodicTasks.update_changed()
        automation.armed_since = now or dt.datetime.now(dt.UTC)
        automation.periodic_task_id = task_id
        Automation.objects.filter(pk=automation.pk).update(
            armed_since=automation.armed_since, periodic_task=task_id
        )


def disarm(automation: Automation) -> None:
    """Take an automation from beat: it has another trigger now, or is about to be deleted."""
    with transaction.atomic():
        before = _task_of(automation)
        if before is not None:
            PeriodicTask.objects.filter(pk=before.pk).delete()
            _forget_crontab(before.crontab_id)
            PeriodicTasks.update_changed()
        automation.armed_since, automation.periodic_task_id = None, None
        Automation.objects.filter(pk=automation.pk).update(armed_since=None, periodic_task=None)


def _task_of(automation: Automation) -> PeriodicTask | None:
    found = PeriodicTask.objects.filter(pk=automation.periodic_task_id).first()
    return cast("PeriodicTask | None", found)


def _forget_crontab(crontab_id: int | None) -> None:
    """Delete a crontab of beat that nothing uses any more."""
    unused = CrontabSchedule.objects.filter(pk=crontab_id, periodictask=None)
    unused.delete()


@cache
def as_crontab(schedule: str) -> dict[str, str]:
    """Beat's columns for a schedule: never due less often, in words that Celery understands.

    Celery knows neither `L`, `#` nor a seventh day, and wants both days to fit where cron is
    content with one of them; there beat wakes us each day.
    """
    parsed = CronSim(schedule, _EPOCH)
    both = parsed.day_and
    return {
        "minute": _as_numbers(parsed.minutes, range(60)),
        "hour": _as_numbers(parsed.hours, range(24)),
        "day_of_month": _as_numbers(parsed.days, range(1, 32)) if both else "*",
        "month_of_year": _as_numbers(parsed.months, range(1, 13)),
        "day_of_week": _as_numbers(
            {day % 7 if isinstance(day, int) else day for day in parsed.weekdays}, range(7)
        )
        if both
        else "*",
    }


def _as_numbers(wanted: set[int] | set[int | tuple[int, int]], whole: range) -> str:
    numbers = [each for each in wanted if isinstance(each, int) and each >= 0]
    if len(numbers) < len(wanted) or len(numbers) == len(whole):
        return "*"
    return ",".join(str(number) for number in sorted(numbers))
