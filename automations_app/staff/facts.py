"""What the pages show, read in a few bounded queries."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from django.contrib.admin.utils import quote
from django.db.models import Max
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from agentsite.host.site import site
from agentsite.operations.models import AuditEntry
from automations_app.clock import describe, find_zone, next_times
from automations_app.due import NOT_HERE
from automations_app.filters import OF
from automations_app.models import (
    Automation,
    AutomationRun,
    Delivery,
    FailureStreak,
    InboundDelivery,
    Occurrence,
)
from automations_app.rest import find_last, next_run
from sessions_app.admin.base import show_money, show_span

MOST = 500
SHOWN = 20
UPCOMING = 5
LISTS = ("automationrun", "occurrence", "inbounddelivery", "delivery")
"""Kinds of rows that operators have lists of."""
PREFIX = "automation."
"""Of what the audit log says was done with one."""


def read_list() -> list[dict[str, Any]]:
    """All automations with their next time and their last run."""
    rows = list(
        Automation.objects.order_by("agent", "name").defer(
            "prompt", "file_values", "webhook_secret", "target_secrets"
        )[:MOST]
    )
    keys = [row.pk for row in rows]
    last, failing = find_last(keys), _count_failures(keys)
    return [
        {
            "row": row,
            "reading": tell_schedule(row),
            "next": in_zone(next_run(row), row.timezone) if is_served(row) else "",
            "problem": tell_problem(row),
            "last": last.get(row.pk),
            "failures": failing.get(row.pk),
            "unsigned": row.trigger == Automation.Trigger.WEBHOOK and row.webhook_auth is None,
        }
        for row in rows
    ]


def _count_failures(keys: list[int]) -> dict[int, int]:
    """Failures in a row of those that fail, in the partition where there are most."""
    streaks = FailureStreak.objects.filter(automation__in=keys, failures__gt=0)
    most = streaks.values("automation_id").annotate(most=Max("failures"))
    return {each["automation_id"]: each["most"] for each in most}


def tell_schedule(row: Automation) -> str:
    """What sets it off, in words."""
    if row.trigger != Automation.Trigger.CRON:
        return str(Automation.Trigger(row.trigger).label)
    try:
        return describe(row.schedule)
    except ValueError as problem:
        return str(problem)


def preview(schedule: str, timezone: str) -> dict[str, Any]:
    """A schedule in words with its next times in its zone, or what is wrong with it."""
    try:
        told = describe(schedule)
        zone = find_zone(timezone)
        due = next_times(schedule, timezone, dt.datetime.now(dt.UTC), UPCOMING)
    except ValueError as problem:
        return {"error": str(problem)}
    times = [f"{each.astimezone(zone):%a, %d %b %Y %H:%M %Z}" for each in due]
    return {"reading": told, "zone": zone.key, "times": times}


def in_zone(moment: dt.datetime | None, timezone: str) -> str:
    """A moment as the automation's wall clock shows it."""
    if moment is None:
        return ""
    return f"{moment.astimezone(find_zone(timezone)):%a, %d %b %H:%M %Z}"


def is_served(row: Automation) -> bool:
    """Whether this server serves its agent; another one of the same database may."""
    return row.agent in site().agents.sources.sources


def tell_problem(row: Automation) -> str:
    """What keeps it from running, in a sentence; empty for nothing."""
    return "" if is_served(row) else NOT_HERE


def read_detail(row: Automation, request: HttpRequest) -> dict[str, Any]:
    """Everything that happened with one automation lately."""
    runs = AutomationRun.objects.filter(automation=row).order_by("-created_at", "-id")
    inbound = InboundDelivery.objects.filter(automation=row).order_by("-received_at", "-id")
    missed = Occurrence.objects.filter(automation=row).exclude(status=Occurrence.Status.RUN)
    lists = {name: list_of(row, name) for name in LISTS}
    return {
        "runs": [tell_run(run) for run in runs.defer("output", "event", "summary")[:SHOWN]],
        "inbound": list(inbound.defer("body")[:SHOWN]),
        "deliveries": list_deliveries(row),
        "lists": {**lists, "history": list_history(row)},
        "missed": list(missed.order_by("-due_at")[:SHOWN]),
        "history": read_history(row),
        "address": address_of(row, request),
        "problem": tell_problem(row),
    }


def read_history(row: Automation) -> list[dict[str, Any]]:
    """The newest of what was done with it: when, by whom (or by its file), and what."""
    entries = AuditEntry.objects.filter(subject=str(row.pk), action__startswith=PREFIX)
    return [
        {"at": entry.at, "who": entry.actor, "what": _tell_deed(entry)}
        for entry in entries.order_by("-number")[:SHOWN]
    ]


def _tell_deed(entry: AuditEntry) -> str:
    """The deed and, of a change, the columns."""
    verb = entry.action.removeprefix(PREFIX)
    if verb != "changed":
        return verb
    names = sorted(json.loads(entry.details).get("after", ()))
    return f"{verb}: {', '.join(name.replace('_', ' ') for name in names)}"


def list_history(row: Automation) -> str:
    """All that the audit log has of its number."""
    return f"{reverse('admin:operations_auditentry_changelist')}?{urlencode({'q': row.pk})}"


def list_deliveries(row: Automation) -> list[Delivery]:
    """Dead letters, which somebody has to see to, and then the others; the newest of each."""
    sent = Delivery.objects.filter(automation=row).order_by("-created_at", "-id").defer("payload")
    dead = Delivery.Status.DEAD
    return [*sent.filter(status=dead)[:SHOWN], *sent.exclude(status=dead)[:SHOWN]]


def list_of(row: Automation, name: str) -> str:
    """The operators' list of all rows of a kind that an automation has."""
    return f"{reverse(f'admin:automations_app_{name}_changelist')}?{OF}={row.pk}"


def tell_run(run: AutomationRun) -> dict[str, Any]:
    """A run with its times and its cost in words."""
    return {
        "row": run,
        "took": show_span(run.started_at or run.created_at, run.ended_at),
        "cost": show_money(run.cost_micros) if run.ended_at else "-",
        "url": reverse("automation-run", args=[run.pk]),
    }


def timeline_of(run: AutomationRun) -> str:
    """The operators' page of the ordinary run; empty before it began."""
    return reverse("admin:sessions_app_run_change", args=[quote(run.run_id)]) if run.run_id else ""


def address_of(row: Automation, request: HttpRequest) -> str:
    """Where senders reach it: the public address that its agent names, else where this page is."""
    if row.trigger != Automation.Trigger.WEBHOOK:
        return ""
    agent = site().agents.latest().get(row.agent)
    proactive = agent.bundle.config.proactive if agent is not None else None
    public = getattr(proactive, "webhook", None)
    base = str(public).rstrip("/") if public else request.build_absolute_uri("/webhooks")
    agents = site().agents.sources
    query = "" if row.agent == agents.default else f"?{urlencode({'agentId': row.agent})}"
    return f"{base}/{row.name}{query}"


def secrets_of(agent: str) -> frozenset[str]:
    """Values of its environment; none of one that is not served, or has not been read yet."""
    served = site().agents.latest().get(agent)
    return frozenset() if served is None else served.bundle.secrets


def tell_change(row: Automation) -> list[str]:
    """Columns that staff changed here, in words."""
    return [name.replace("_", " ") for name in row.changed]
