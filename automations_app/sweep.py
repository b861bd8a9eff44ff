"""What carries on runs that a crash left: queued ones that nobody starts, ended ones left open.

Law: bounded batches, and every row by the same verbs as ever, so a sweep may run anywhere and at
any time, beside others.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from automations_app.models import AutomationRun
from automations_app.starting import WHY, finish, start
from sessions_app.models import Run

BATCH = 50


async def carry_on() -> int:
    """Start and finish what is due; how many rows were looked after."""
    with acting_for_all(WHY):
        queued, ended = await unit(find_left)
    for automation_run_id in queued:
        await start(automation_run_id)
    for automation_run_id in ended:
        await finish(automation_run_id)
    return len(queued) + len(ended)


def find_left() -> tuple[list[str], list[str]]:
    """Queued runs whose claim ran out, and open ones whose ordinary run has ended or is gone."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    rows = AutomationRun.objects.filter(free).order_by("created_at", "pk")
    queued = rows.filter(status=AutomationRun.Status.QUEUED)
    alive = Run.objects.filter(pk=OuterRef("run_id")).exclude(status=Run.Status.DONE)
    working = (AutomationRun.Status.RUNNING, AutomationRun.Status.WAITING)
    ended = rows.filter(~Exists(alive), status__in=working)
    return (
        list(queued.values_list("pk", flat=True)[:BATCH]),
        list(ended.values_list("pk", flat=True)[:BATCH]),
    )
