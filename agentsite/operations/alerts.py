"""Alerts: what operators should know of without looking for it, each told once.

Law: an alert is a row and a word on the bus, in one transaction, as the owner of the tables.
Titles name what is wrong; texts of tenants do not belong in them. Synchronous: for `unit`.
"""

from __future__ import annotations

import datetime as dt
import json

from django.db import connection, transaction

from agentsite.bus.catalogue import AlertRaised
from agentsite.bus.writing import tell
from agentsite.operations.models import Alert

TITLE_CHARS = 300
KINDS = ("budget", "provider", "poison", "repeats", "automation", "price")
"""What alerts are about."""
FAILURES = 3
"""In a row, after which an automation is told of that says nothing of it itself."""


def raise_once(alert: Alert) -> int:
    """Store an alert and tell staff of it, unless its occasion was told before: 1 or 0."""
    return _insert(alert, "")


def raise_again(alert: Alert) -> int:
    """The same of what may come again: nothing while an equal alert is open, else a new one."""
    alert.once = f"{alert.once} {dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M}"[:500]
    return _insert(
        alert,
        "WHERE NOT EXISTS (SELECT FROM operations_alert"
        " WHERE closed_at IS NULL AND kind = %s AND title = %s)",
        alert.kind,
        alert.title,
    )


def _insert(alert: Alert, unless: str, *values: str) -> int:
    words = [alert.kind, alert.level, alert.agent, alert.scope_id, alert.title]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO operations_alert"
            " (kind, level, agent, scope_id, title, details, once, closed_by)"
            f" SELECT %s, %s, %s, %s, %s, %s::jsonb, %s, '' {unless}"
            " ON CONFLICT (once) DO NOTHING RETURNING id",
            [*words, json.dumps(alert.details), alert.once, *values],
        )
        new = cursor.fetchone()
        if new is None:
            return 0
        event = AlertRaised(str(new[0]), alert.kind, alert.level, alert.title)
        tell(alert.agent, alert.scope_id, event, audience="staff")
    return 1


def refused_credentials(agent: str, model: str, problem: str) -> Alert:
    """A provider does not take an agent's credentials, or its account does not pay."""
    title = f"{model} refuses the credentials of {agent}"[:TITLE_CHARS]
    details = {"agent": agent, "model": model, "problem": problem[:TITLE_CHARS]}
    return Alert(kind="provider", level="critical", title=title, details=details, once=title)


def poisoned_run(run_id: str, agent: str, scope_id: str) -> Alert:
    """Every process that worked on a run has broken off: it was given up."""
    return Alert(
        kind="poison",
        level="critical",
        agent=agent,
        scope_id=scope_id,
        title=f"A run of {agent} broke every process that took it: {run_id}"[:TITLE_CHARS],
        details={"run": run_id},
        once=f"poison {run_id}",
    )


def unknown_price(model: str, agent: str) -> Alert:
    """A model was called whose price nobody knows: told once of each model."""
    title = f"The price of {model} is not known: what it costs is counted in no sum"[:TITLE_CHARS]
    details = {"model": model, "agent": agent}
    once = f"price {model}"
    return Alert(kind="price", level="warning", title=title, details=details, once=once)


def repeating_run(run_id: str, agent: str, scope_id: str) -> Alert:
    """A run makes the same call with the same result again and again; nothing has stopped it."""
    return Alert(
        kind="repeats",
        level="warning",
        agent=agent,
        scope_id=scope_id,
        title=f"A run of {agent} repeats a call to no avail: {run_id}"[:TITLE_CHARS],
        details={"run": run_id},
        once=f"repeats {run_id}",
    )


def failing_automation(key: int, agent: str, name: str, run: str, failures: int) -> Alert:
    """An automation has failed so often in a row; `run` is the last of its runs."""
    title = f"The automation {name} of {agent} fails: {failures} times in a row"[:TITLE_CHARS]
    details = {"automation": key, "automationRun": run, "failures": failures}
    return Alert(
        kind="automation", level="warning", title=title, details=details, once=f"automation {run}"
    )
