"""Reading the bus in order, numbering what is new, and forgetting what is old.

Law: numbers are given under one lock, to rows that are committed: whoever has read up to a
number has missed nothing below it. The newest row is never purged, and blanked where it
would be erased with its scope: it keeps the count.
"""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext

import msgspec
from django.db import connection, transaction
from django.db.models import Max, Min
from django.db.models.functions import Now

from agentsite.bus.models import BLANK, LOCK, BusEvent
from agentsite.bus.querysets import BusEventQuerySet
from agentsite.rows.tenancy import tenant

CHANNEL = "agentsite_bus"
STEP = 5_000
RECENT = 500
"""Events of the past that a page is told at the most."""
COLUMNS = ("seq", "audience", "agent", "scope_id", "type", "data", "created_at")


class Told(msgspec.Struct, frozen=True):
    """An event as it stands on the bus."""

    seq: int
    audience: str
    agent: str
    scope_id: str
    type: str
    data: str
    """Its line of JSON on the wire."""


def number() -> None:
    """Number what was committed since the last time, in the order in which it was written."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM bus_busevent WHERE seq IS NULL)")
        if not cursor.fetchone()[0]:
            return
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute(
            "UPDATE bus_busevent b SET seq = fresh.seq FROM ("
            " SELECT id, row_number() OVER (ORDER BY id)"
            "  + (SELECT coalesce(max(seq), 0) FROM bus_busevent) AS seq"
            "  FROM bus_busevent WHERE seq IS NULL) fresh WHERE b.id = fresh.id"
        )


def newest() -> int:
    """The last number that was given; 0 on an empty bus."""
    return int(BusEvent.objects.aggregate(last=Max("seq"))["last"] or 0)


def place_before(seconds: int) -> int:
    """The number behind which all events of the last `seconds` stand, or the newest `RECENT`.

    Those that nobody has numbered yet will have a higher one.
    """
    since = Now() - dt.timedelta(seconds=seconds)
    rows = BusEvent.objects.filter(seq__isnull=False, created_at__gte=since)
    recent = list(rows.order_by("-created_at").values_list("seq", flat=True)[:RECENT])
    return min(recent) - 1 if recent else newest()


def is_kept(after: int) -> bool:
    """Whether all that follows a number can still be read."""
    found = BusEvent.objects.aggregate(first=Min("seq"), last=Max("seq"))
    if found["last"] is None:
        return after == 0
    return int(found["first"]) - 1 <= after <= int(found["last"])


def read(after: int, limit: int, scope_id: str | None) -> list[Told]:
    """Numbered events above `after`, in order: what a scope may see, or with None everything.

    The latter is for staff and for the process that feeds the listeners.
    """
    with nullcontext() if scope_id is None else tenant(scope_id):
        every: BusEventQuerySet = BusEvent.objects.all()
        rows = every if scope_id is None else every.for_scope(scope_id)
        told = rows.filter(seq__gt=after).exclude(type=BLANK)
        found = told.order_by("seq").values_list(*COLUMNS)[:limit]
        return [_to_told(row) for row in found]


def _to_told(row: tuple[int, str, str, str, str, str, dt.datetime]) -> Told:
    seq, audience, agent, scope_id, kind, data, created_at = row
    more: dict[str, str | int] = {"appId": agent} if agent else {}
    if audience == BusEvent.Audience.SCOPE:
        more["scope_id"] = scope_id
    more |= {"seq": seq, "timestamp": created_at.isoformat().replace("+00:00", "Z")}
    tail = msgspec.json.encode(more).decode()
    return Told(seq, audience, agent, scope_id, kind, f"{data[:-1]},{tail[1:]}")


def purge(older_than: dt.timedelta) -> int:
    """Delete events above that age, in small steps, the newest one excepted; returns how many."""
    number()
    rows = BusEvent.objects.filter(created_at__gte=Now() - older_than)
    # By number, not each by its age, so that what is left has no hole.
    kept_from = rows.aggregate(first=Min("seq"))["first"] or newest()
    total = 0
    while gone := _purge_some(kept_from):
        total += gone
    return total


def _purge_some(kept_from: int) -> int:
    old = BusEvent.objects.filter(seq__lt=kept_from).order_by("seq")
    ids = list(old.values_list("pk", flat=True)[:STEP])
    if ids:
        doomed = BusEvent.objects.filter(pk__in=ids)
        doomed._raw_delete(doomed.db)
    return len(ids)
