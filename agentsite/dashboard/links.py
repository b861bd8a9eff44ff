"""The way from a figure to what it was made of: the same rows, over the same time.

Law: what has no list yet is no link.
"""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

RUNS, CALLS = "sessions_app_run", "sessions_app_modelcall"
USAGE = "sessions_app_usageday"


def to_list(model: str, **query: str) -> str | None:
    """The address of a list; None while there is none."""
    try:
        address = reverse(f"admin:{model}_changelist", current_app=admin.site.name)
    except NoReverseMatch:
        return None
    return f"{address}?{urlencode(query)}" if query else address


def to_last_day(model: str, field: str = "created_at", **query: str) -> str | None:
    """The same of rows of the last day, by the list's own time."""
    return to_list(model, **query, **_since(timezone.now() - dt.timedelta(days=1), field))


def to_days(model: str, days: list[dt.date], **query: str) -> str | None:
    """The same of rows from the first of these days (UTC) on."""
    start = dt.datetime.combine(days[0], dt.time.min, dt.UTC)
    return to_list(model, **query, **_since(start, "created_at"))


def to_usage(days: list[dt.date], by: str) -> str | None:
    """The cost page over these days, divided by one of `costing.By`."""
    return to_list(USAGE, by=by, **{"from": f"{days[0]}", "until": f"{days[-1]}"})


def _since(start: dt.datetime, field: str) -> dict[str, str]:
    """What `rows.filters.Times` reads, in the server's zone."""
    here = timezone.localtime(start)
    return {f"{field}_from_0": f"{here:%Y-%m-%d}", f"{field}_from_1": f"{here:%H:%M:%S}"}
