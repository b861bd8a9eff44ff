"""One look at whether a heartbeat finds anything to do, for all who would look one by one.

Law: it decides nothing. What it sees is looked for again, and locked, by those who act.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import connection

from sessions_app.leases import LOST
from sessions_app.models import Interaction, Run, Signal
from sessions_app.queue import ORPHANED

LOOK = (
    "SELECT EXISTS (SELECT 1 FROM sessions_app_interaction"  # noqa: S608 - our own words
    "  WHERE status = %s AND expires_at <= now()),"
    f" EXISTS (SELECT 1 FROM sessions_app_run WHERE {LOST} AND id <> ALL(%s)),"
    f" EXISTS (SELECT 1 FROM sessions_app_run q WHERE {ORPHANED}),"
    " EXISTS (SELECT 1 FROM sessions_app_signal s JOIN sessions_app_run r ON r.id = s.run_id"
    "  WHERE s.kind = %s AND r.status = ANY(%s))"
)


class Due(msgspec.Struct, frozen=True):
    """What waits for somebody."""

    questions: bool
    """Some whose time is over."""
    leases: bool
    """Runs whose owner is gone."""
    queues: bool
    """Queued runs of sessions that have no live one."""
    titles: bool
    """Titles for the logs of runs that nobody drives."""


def look(lease_seconds: float, spared: list[str]) -> Due:
    """See what is due, of all scopes; runs of `spared` live in this very process."""
    undriven = [Run.Status.WAITING, Run.Status.DONE]
    given: list[Any] = [Interaction.Status.OPEN, lease_seconds, spared, Signal.Kind.TITLE, undriven]
    with connection.cursor() as cursor:
        cursor.execute(LOOK, given)
        row = cursor.fetchone()
    return Due(*(row or (True, True, True, True)))
