"""Time zones with every kind of change, and an oracle that knows nothing of `clock`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from functools import cache
from zoneinfo import ZoneInfo

FIRST = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LAST = dt.datetime(2029, 1, 1, tzinfo=dt.UTC)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
AROUND = 3 * HOUR

ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Johannesburg",
    "America/Anchorage", "America/Argentina/Buenos_Aires", "America/Asuncion", "America/Bogota",
    "America/Chicago", "America/Denver", "America/Havana", "America/Los_Angeles",
    "America/Mexico_City", "America/Miquelon", "America/New_York", "America/Nuuk",
    "America/Phoenix", "America/Port-au-Prince", "America/Santiago", "America/Sao_Paulo",
    "America/Scoresbysund", "America/St_Johns", "Antarctica/Troll", "Asia/Beirut", "Asia/Dubai",
    "Asia/Gaza", "Asia/Jerusalem", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Shanghai",
    "Asia/Tehran", "Asia/Tokyo", "Atlantic/Azores", "Australia/Adelaide", "Australia/Eucla",
    "Australia/Lord_Howe", "Australia/Sydney", "Europe/Berlin", "Europe/Chisinau",
    "Europe/Dublin", "Europe/Lisbon", "Europe/London", "Europe/Moscow", "Pacific/Apia",
    "Pacific/Auckland", "Pacific/Chatham", "Pacific/Easter", "Pacific/Kiritimati",
    "Pacific/Norfolk", "UTC",
)  # fmt: skip

Fits = Callable[[dt.datetime], bool]
"""Whether a minute of the wall clock belongs to a schedule."""

SCHEDULES: dict[str, Fits] = {
    "30 2 * * *": lambda wall: (wall.hour, wall.minute) == (2, 30),
    "0 0 * * *": lambda wall: (wall.hour, wall.minute) == (0, 0),
    "30 1,2,3 * * *": lambda wall: wall.hour in (1, 2, 3) and wall.minute == 30,
    "*/15 * * * *": lambda wall: wall.minute % 15 == 0,
    "5 * * * *": lambda wall: wall.minute == 5,
    "15 0-4 * * SUN": lambda wall: wall.hour < 5 and wall.minute == 15 and wall.weekday() == 6,
    "45 1 1-7 * 6": lambda wall: (
        (wall.hour, wall.minute) == (1, 45) and (wall.day <= 7 or wall.weekday() == 5)
    ),
}


@cache
def changes(zone: ZoneInfo) -> tuple[dt.datetime, ...]:
    """The hours in which the zone's offset changes."""
    return tuple(
        hour
        for day in _changed(zone, FIRST, LAST, DAY)
        for hour in _changed(zone, day, day + DAY, HOUR)
    )


def _changed(
    zone: ZoneInfo, first: dt.datetime, last: dt.datetime, step: dt.timedelta
) -> Iterator[dt.datetime]:
    at = first
    while at < last:
        if at.astimezone(zone).utcoffset() != (at + step).astimezone(zone).utcoffset():
            yield at
        at += step


def read_clock(
    zone: ZoneInfo, first: dt.datetime, last: dt.datetime
) -> dict[dt.datetime, dt.datetime]:
    """What the wall clock shows in a stretch of time and a little around it, and when first."""
    shown: dict[dt.datetime, dt.datetime] = {}
    at = first - AROUND
    while at <= last + AROUND:
        shown.setdefault(at.astimezone(zone).replace(tzinfo=None), at)
        at += MINUTE
    return shown


def expected(
    shown: dict[dt.datetime, dt.datetime], fits: Fits, first: dt.datetime, last: dt.datetime
) -> list[dt.datetime]:
    """Due times later than `first` and up to `last`, by looking at every minute of the clock."""
    found: set[dt.datetime] = set()
    wall, end = min(shown), max(shown)
    owed = False
    while wall <= end:
        owed = owed or fits(wall)
        if owed and wall in shown:
            found.add(shown[wall])
            owed = False
        wall += MINUTE
    return sorted(at for at in found if first < at <= last)
