"""Automations and their runs as JSON, and the questions that their routes ask of the rows.

Law: an automation is its agent's and shown to whoever may use that; runs, and what is told of
the last one, are those of the caller's scope.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Any

import msgspec
from cronsim import CronSimError
from django.db import connection
from django.db.models import Q

from agentsite.engine.transcript import timestamp
from agentsite.host.errors import Refusal
from agentsite.host.identity import Caller
from automations_app.clock import next_times
from automations_app.models import Automation, AutomationRun
from sessions_app.models import Run

MAX_RUNS = 200
STATUS = {AutomationRun.Status.SUCCESS: "success", AutomationRun.Status.FAILED: "error"}
"""As the reference words it; other states keep their own names."""


class Found(msgspec.Struct, frozen=True):
    """An automation that a route is about."""

    id: int
    agent: str
    name: str
    trigger: str
    schedule: str
    partition: str
    paused: bool


def find(caller: Caller, agent: str, name: str) -> Found:
    """The automation of that name. Raises `Refusal` 404."""
    row = None if "\x00" in name else Automation.objects.filter(agent=agent, name=name).first()
    if row is None or not caller.may_use(agent):
        raise Refusal(404, "automation_not_found", f'There is no automation "{name}".')
    return Found(row.pk, row.agent, row.name, row.trigger, row.schedule, row.partition, row.paused)


def list_shown(caller: Caller, agent: str | None) -> list[Automation]:
    """All automations that a caller may see, by agent and name; where all are acted for."""
    rows = Automation.objects.order_by("agent", "name").defer("file_values")
    if agent is not None:
        rows = rows.filter(agent=agent)
    return [row for row in rows if caller.may_use(row.agent)]


def describe(rows: list[Automation], scope_id: str, whole: set[int]) -> list[dict[str, Any]]:
    """Them as JSON, with the last run of each in one scope; `whole` are those with their prompts.

    For whoever acts for that scope, so that the database itself shows no run of another.
    """
    last = find_last([row.pk for row in rows], scope_id)
    return [automation_to_api(row, last.get(row.pk), whole=row.pk in whole) for row in rows]


NEWEST = """
SELECT r.id FROM unnest(%s::bigint[]) a(id) CROSS JOIN LATERAL (
    SELECT id FROM automations_app_automationrun
    WHERE automation_id = a.id AND status <> 'queued' AND (%s OR scope_id = %s)
    ORDER BY created_at DESC, id DESC LIMIT 1) r
"""


def find_last(automation_ids: list[int], scope_id: str | None = None) -> dict[int, AutomationRun]:
    """The newest run of each that is not only queued, of one scope or (None) of any."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, [automation_ids, scope_id is None, scope_id or ""])
        ids = [row[0] for row in cursor.fetchall()]
    rows = AutomationRun.objects.filter(pk__in=ids).defer("output", "summary", "event")
    return {row.automation_id: row for row in rows}


def automation_to_api(
    row: Automation, last: AutomationRun | None, *, whole: bool
) -> dict[str, Any]:
    """An automation in the reference's shape, and what it has beyond it."""
    told: dict[str, Any] = {
        "name": row.name,
        "title": row.title,
        "agent": row.agent,
        "trigger": row.trigger,
        "webhookTriggered": row.trigger == Automation.Trigger.WEBHOOK,
        "running": row.trigger != Automation.Trigger.MANUAL and not row.paused,
        "paused": row.paused,
        "writeEnabled": row.write_enabled,
    }
    if whole:
        told["prompt"] = row.prompt
    if row.schedule:
        told["schedule"] = row.schedule
        if row.timezone:
            told["timezone"] = row.timezone
    upcoming = next_run(row)
    if upcoming is not None:
        told["nextRun"] = tell(upcoming)
    if last is not None:
        told["lastRun"] = tell(last.started_at or last.created_at)
        told["lastRunStatus"] = STATUS.get(AutomationRun.Status(last.status), last.status)
        if last.error:
            told["lastRunError"] = last.error
        if last.session_id:
            told["lastRunSessionId"] = last.session_id
    return told


def next_run(row: Automation) -> dt.datetime | None:
    """When the clock sets it off next; None when it does not."""
    if row.trigger != Automation.Trigger.CRON or row.paused:
        return None
    try:
        coming = next_times(row.schedule, row.timezone, dt.datetime.now(dt.UTC), 1)
    except (ValueError, CronSimError):  # its zone has left the system's list; `due.py` tells of it
        return None
    return coming[0] if coming else None


def list_runs(automation_id: int, scope_id: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of the runs of one scope, newest first. Raises `Refusal` 400."""
    rows = AutomationRun.objects.filter(automation=automation_id, scope_id=scope_id)
    if cursor is not None:
        at, pk = _read_cursor(cursor)
        rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=pk))
    found = list(rows.defer("event").order_by("-created_at", "-id")[: limit + 1])
    page = found[:limit]
    return {
        "runs": [run_to_api(row) for row in page],
        "nextCursor": _make_cursor(page[-1]) if len(found) > limit else None,
    }


def run_to_api(row: AutomationRun) -> dict[str, Any]:
    """A run; ids of the conversation under the names that sessions use."""
    took = None if row.started_at is None or row.ended_at is None else row.ended_at - row.started_at
    return {
        "id": row.pk,
        "status": STATUS.get(AutomationRun.Status(row.status), row.status),
        "source": row.cause,
        "tries": row.tries,
        "sessionId": row.session_id or None,
        "runId": row.run_id or None,
        "output": row.output,
        "error": row.error or None,
        "lastToolCall": row.last_tool_call or None,
        "cost": {"currency": "USD", "estimatedCostMicros": row.cost_micros},
        "createdAt": tell(row.created_at),
        "startedAt": tell(row.started_at),
        "endedAt": tell(row.ended_at),
        "durationMs": None if took is None else round(took.total_seconds() * 1000),
    }


def find_started(automation_run_id: str) -> tuple[str, str, int] | None:
    """Session and run of one that was started, and the number before its first event."""
    row = AutomationRun.objects.filter(pk=automation_run_id).first()
    if row is None or not row.run_id:
        return None
    first = Run.objects.filter(pk=row.run_id).values_list("first_seq", flat=True).first()
    return None if first is None else (row.session_id, row.run_id, first - 1)


def tell(moment: dt.datetime | None) -> str | None:
    """A moment as all of the API tells it."""
    return None if moment is None else timestamp(round(moment.timestamp() * 1000))


def _make_cursor(row: AutomationRun) -> str:
    return base64.urlsafe_b64encode(f"{row.created_at.isoformat()}|{row.pk}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[dt.datetime, str]:
    wrong = Refusal(400, "invalid_field", '"cursor" is not one of this server.')
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        moment, pk = text.split("|", 1)
        at = dt.datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        raise wrong from None
    if at.tzinfo is None or "\x00" in pk:
        raise wrong
    return at, pk
