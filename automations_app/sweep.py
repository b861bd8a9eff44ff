"""What carries on runs that a crash left: queued ones that nobody starts, ended ones left open.

Law: bounded batches, and every row by the same verbs as ever, so a sweep may run anywhere and at
any time, beside others.
"""

from __future__ import annotations

import logging

import msgspec
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from automations_app.models import AutomationRun
from automations_app.starting import finish, start
from sessions_app.models import Run

logger = logging.getLogger(__name__)

BATCH = 50


class Left(msgspec.Struct, frozen=True):
    """Ids of runs of automations that somebody has to look after."""

    queued: tuple[str, ...]
    """Nobody starts them: the claim ran out."""
    ended: tuple[str, ...]
    """Still open, but their ordinary run has ended or is gone."""


async def carry_on(left: Left) -> None:
    """Start and finish them; what is wrong with one costs no other its turn."""
    for verb, ids in ((start, left.queued), (finish, left.ended)):
        for automation_run_id in ids:
            try:
                await verb(automation_run_id)
            except (InterfaceError, OperationalError):
                raise
            except Exception:
                logger.exception("run %s of an automation is left", automation_run_id)


QUEUED = """
WITH open AS MATERIALIZED (
    SELECT r.id, r.status, r.cause, r.claimed_until, r.created_at, a.overlap, o.due_at,
        bool_or(r.status <> 'queued') OVER (PARTITION BY r.automation_id, r.scope_id) AS busy,
        rank() OVER (PARTITION BY r.automation_id, r.scope_id, r.status, r.cause ORDER BY o.due_at)
            AS place
    FROM automations_app_automationrun r
    JOIN automations_app_automation a ON a.id = r.automation_id
    LEFT JOIN automations_app_occurrence o ON o.id = r.occurrence_id
    WHERE r.status IN ('queued', 'running', 'waiting')
)
SELECT id FROM open
WHERE status = 'queued' AND (claimed_until IS NULL OR claimed_until < now())
    AND (cause <> 'cron' OR overlap = 'allow' OR NOT busy AND (place = 1 OR due_at IS NULL))
ORDER BY created_at, id LIMIT %s
"""
# Without those that wait for their turn (`outcomes.must_wait`): they would hide the others.


def find_left() -> Left:
    """The oldest of each kind. Synchronous, where all scopes are acted for."""
    with connection.cursor() as cursor:
        cursor.execute(QUEUED, [BATCH])
        queued = tuple(row[0] for row in cursor.fetchall())
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    rows = AutomationRun.objects.filter(free).order_by("created_at", "pk")
    alive = Run.objects.filter(pk=OuterRef("run_id")).exclude(status=Run.Status.DONE)
    working = (AutomationRun.Status.RUNNING, AutomationRun.Status.WAITING)
    ended = rows.filter(~Exists(alive), status__in=working)
    return Left(queued, tuple(ended.values_list("pk", flat=True)[:BATCH]))
