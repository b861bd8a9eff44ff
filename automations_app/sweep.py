"""What carries on runs that a crash left: queued ones that nobody starts, ended ones left open.

Law: bounded batches, and every row by the same verbs as ever, so a sweep may run anywhere and at
any time, beside others.
"""

from __future__ import annotations

import msgspec
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from automations_app.models import AutomationRun
from automations_app.starting import finish, start
from sessions_app.models import Run

BATCH = 50


class Left(msgspec.Struct, frozen=True):
    """Ids of runs of automations that somebody has to look after."""

    queued: tuple[str, ...]
    """Nobody starts them: the claim ran out."""
    ended: tuple[str, ...]
    """Still open, but their ordinary run has ended or is gone."""


async def carry_on(left: Left) -> None:
    """Start and finish them."""
    for automation_run_id in left.queued:
        await start(automation_run_id)
    for automation_run_id in left.ended:
        await finish(automation_run_id)


def find_left() -> Left:
    """The oldest of each kind. Synchronous, where all scopes are acted for."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    rows = AutomationRun.objects.filter(free).order_by("created_at", "pk")
    queued = rows.filter(status=AutomationRun.Status.QUEUED)
    alive = Run.objects.filter(pk=OuterRef("run_id")).exclude(status=Run.Status.DONE)
    working = (AutomationRun.Status.RUNNING, AutomationRun.Status.WAITING)
    ended = rows.filter(~Exists(alive), status__in=working)
    # One limit for both would let runs that wait for their turn hide those that have ended.
    return Left(
        tuple(queued.values_list("pk", flat=True)[:BATCH]),
        tuple(ended.values_list("pk", flat=True)[:BATCH]),
    )
