"""Awaiting the start or the end of a run of an automation, wherever it runs."""

from __future__ import annotations

import asyncio

from agentsite.host.errors import Refusal
from agentsite.host.patience import patient_unit
from agentsite.host.replies import await_end
from agentsite.host.site import site
from agentsite.rows.tenancy import acting_for_all
from automations_app.models import AutomationRun
from automations_app.rest import find_started
from automations_app.starting import WHY, finish

LOOK_SECONDS = (0.02, 0.05, 0.1, 0.3, 1.0)
"""Between two looks at a row that somebody is just starting or finishing."""
Status = AutomationRun.Status


async def wait_for_end(automation_run_id: str) -> AutomationRun:
    """The run as it ended, the last of its tries, or as it waits for a person.

    Raises `Refusal` 503 when this process stops meanwhile; the run goes on elsewhere.
    """
    here = site()
    with acting_for_all(WHY):
        looks = 0
        while True:
            row = await patient_unit(_read, automation_run_id)
            if row.pk != automation_run_id:
                automation_run_id, looks = row.pk, 0
                continue  # it may have been tried once more
            if row.status not in (Status.QUEUED, Status.RUNNING):
                return row
            if row.status == Status.RUNNING and not looks:
                await await_end(here.hub, row.session_id, row.run_id)
                await finish(row.pk)
            if here.hub.closed:
                text = "The end of the run could not be awaited here. It goes on."
                raise Refusal(503, "answer_cut_off", text, headers={"Retry-After": "5"})
            if row.status == Status.RUNNING:
                looks += 1
            await asyncio.sleep(LOOK_SECONDS[min(looks, len(LOOK_SECONDS) - 1)])


async def wait_for_start(automation_run_id: str) -> tuple[str, str, int] | AutomationRun:
    """Where its log begins (`rest.find_started`), or the run as it ended without one.

    Another process or request may be starting it just now. Raises `Refusal` 503 when this process
    stops meanwhile.
    """
    here = site()
    with acting_for_all(WHY):
        looks = 0
        while True:
            place = await patient_unit(find_started, automation_run_id)
            if place is not None:
                return place
            row = await patient_unit(_read, automation_run_id)
            if row.pk != automation_run_id:  # it was tried once more
                automation_run_id, looks = row.pk, 0
            elif row.status not in AutomationRun.OPEN:
                return row
            if here.hub.closed:
                text = "The start of the run could not be awaited here. It goes on."
                raise Refusal(503, "answer_cut_off", text, headers={"Retry-After": "5"})
            await asyncio.sleep(LOOK_SECONDS[min(looks, len(LOOK_SECONDS) - 1)])
            looks += 1


def _read(automation_run_id: str) -> AutomationRun:
    """The row, or the try that came after it."""
    rows = AutomationRun.objects.select_related("automation")
    return rows.filter(retry_of=automation_run_id).first() or rows.get(pk=automation_run_id)
