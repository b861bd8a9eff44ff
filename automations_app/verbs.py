"""What people do to an automation: pause it, set it going, run it. One transaction each."""

from __future__ import annotations

import datetime as dt

from cronsim import CronSimError
from django.db import transaction
from django.db.models.functions import Now

from agentsite.bus.catalogue import AutomationStarted, AutomationStopped
from agentsite.bus.writing import tell
from agentsite.operations import audit
from automations_app import clock, due
from automations_app.models import Automation, AutomationRun
from automations_app.starting import Asked, begin, begin_asked


def pause(automation_id: int, reason: str) -> bool:
    """Let nothing set it off any more, but by hand; False when it was paused before."""
    return _turn(automation_id, paused=True, reason=reason)


def resume(automation_id: int) -> bool:
    """Set it going again, from this moment on; False when it was not paused."""
    return _turn(automation_id, paused=False, reason="")


def turn_and_record(automation_id: int, actor: str, *, paused: bool) -> bool:
    """The same for a caller of the API, with the entry in the audit log."""
    with transaction.atomic():
        reason = f"stopped by {actor}"
        if not (pause(automation_id, reason) if paused else resume(automation_id)):
            return False
        agent, name = Automation.objects.values_list("agent", "name").get(pk=automation_id)
        details = {"agent": agent, "automation": name, "before": {"paused": not paused}}
        verb = "automation.paused" if paused else "automation.resumed"
        audit.record(actor, verb, str(automation_id), {**details, "after": {"paused": paused}})
    return True


def run_and_record(
    automation_id: int, scope_id: str, requested_by: str, actor: str, asked: Asked | None
) -> str:
    """Begin a run by hand for a caller of the API, with the entry in the audit log; its id.

    The same request again, as `asked` says, only finds it. Raises `KeyReused`.
    """
    with transaction.atomic():
        if asked is None:
            manual = AutomationRun.Cause.MANUAL
            begun = begin(automation_id, cause=manual, scope_id=scope_id, requested_by=requested_by)
        else:
            begun, is_new = begin_asked(automation_id, scope_id, requested_by, asked)
            if not is_new:
                return begun
        agent, name = Automation.objects.values_list("agent", "name").get(pk=automation_id)
        details = {"agent": agent, "automation": name, "before": {}, "after": {"run": begun}}
        audit.record(actor, "automation.run", str(automation_id), details)
    return begun


def _turn(automation_id: int, *, paused: bool, reason: str) -> bool:
    with transaction.atomic():
        rows = Automation.objects.filter(pk=automation_id)
        if due.lock(automation_id, paused=not paused) is None:
            return False
        due.let_go(automation_id, {"paused": paused})
        rows.update(paused=paused, pause_reason=reason[:200], updated_at=Now())
        row = rows.get()
        clock.arm(row)
        started = AutomationStarted(row.name, _find_interval(row))
        event = AutomationStopped(row.name) if paused else started
        tell(row.agent, "", event, audience="everyone")
    return True


def _find_interval(row: Automation) -> int:
    """Milliseconds between its next two due times; 0 where no clock sets it off twice."""
    if row.trigger != Automation.Trigger.CRON:
        return 0
    try:
        coming = clock.next_times(row.schedule, row.timezone, dt.datetime.now(dt.UTC), 2)
    except (ValueError, CronSimError):  # its zone has left the system's list; `due.py` tells of it
        return 0
    return round((coming[1] - coming[0]).total_seconds() * 1000) if len(coming) == 2 else 0
