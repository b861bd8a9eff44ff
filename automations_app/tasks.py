"""What Celery does for automations; when it is due says `agentsite.celery`.

Law: a task is short. It claims and begins in rows, then lets the runs go on beside it on the
loop of its worker; what it leaves behind when it dies, the next sweep finds.
"""

from __future__ import annotations

import datetime as dt
import logging

from celery import shared_task
from django.conf import settings
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from agentsite.host.hosting import host_thread
from agentsite.host.site import site
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from automations_app.clock import FIRE
from automations_app.courier import AT_ONCE
from automations_app.deliveries import send_due
from automations_app.due import claim_due, find_due
from automations_app.history import forget
from automations_app.models import Automation
from automations_app.starting import WHY, start
from automations_app.sweep import carry_on, find_left

logger = logging.getLogger(__name__)

LONGEST = 240.0
"""Seconds that one task may take."""
MOST_BATCHES = 10
"""Of deliveries that one task sends; the next one goes on."""


@shared_task(name=FIRE)  # type: ignore[untyped-decorator]
def fire(automation_id: int) -> None:
    """Beat says that an automation may be due."""
    host_thread().call(_run_due([automation_id]), LONGEST)


@shared_task  # type: ignore[untyped-decorator]
def sweep_due() -> None:
    """Look at all: what beat left out, evaluates otherwise, or was missed while nobody worked."""
    host_thread().call(_run_due(None), LONGEST)


@shared_task  # type: ignore[untyped-decorator]
def sweep_runs() -> None:
    """Start and finish runs of automations that a crash left."""
    host_thread().call(_carry_on(), LONGEST)


@shared_task  # type: ignore[untyped-decorator]
def send_deliveries() -> None:
    """Send deliveries that are due and that no courier has taken."""
    host_thread().call(_send_deliveries(), LONGEST)


@shared_task  # type: ignore[untyped-decorator]
def purge_history() -> None:
    """Delete what ended so long ago that nobody asks for it."""
    if days := settings.AUTOMATION_RETENTION_DAYS:
        host_thread().call(_purge_history(dt.timedelta(days=days)), LONGEST)


async def _send_deliveries() -> None:
    for _ in range(MOST_BATCHES):
        if not site().runs.accepting or await send_due(AT_ONCE) < AT_ONCE:
            return


async def _purge_history(age: dt.timedelta) -> None:
    with acting_for_all(WHY):
        await unit(forget, age)


async def _run_due(automation_ids: list[int] | None) -> None:
    here = site()
    if not here.runs.accepting:  # whoever works on looks within the minute
        return
    now, served = dt.datetime.now(dt.UTC), here.agents.sources.sources
    with acting_for_all(WHY):
        due = automation_ids
        if due is None:
            due = await unit(find_due, now, served)
        for automation_id in due:
            try:
                begun = await unit(claim_due, automation_id, now, here.owner, served)
                for automation_run_id in begun:
                    await start(automation_run_id)
            except Exception:
                # It keeps no other from being due, and its runs are found by the next sweep.
                logger.exception("automation %s could not be set off", automation_id)


async def _carry_on() -> None:
    with acting_for_all(WHY):
        await unit(forget_orphans)
        left = await unit(find_left)
    await carry_on(left)


def forget_orphans() -> None:
    """Delete rows of beat whose automation is gone."""
    armed = Automation.objects.exclude(periodic_task=None).values("periodic_task")
    if PeriodicTask.objects.filter(task=FIRE).exclude(pk__in=armed).delete()[0]:
        PeriodicTasks.update_changed()
