"""What people do to an automation: pause it, set it going again. One transaction each."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from agentsite.bus.catalogue import AutomationStarted, AutomationStopped
from agentsite.bus.writing import tell
from agentsite.operations import audit
from automations_app import clock
from automations_app.models import Automation


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


def _turn(automation_id: int, *, paused: bool, reason: str) -> bool:
    with transaction.atomic():
        rows = Automation.objects.filter(pk=automation_id)
        turned = rows.exclude(paused=paused)
        if not turned.update(paused=paused, pause_reason=reason[:200], updated_at=Now()):
            return False
        row = rows.get()
        clock.arm(row)
        event = AutomationStopped(row.name) if paused else AutomationStarted(row.name)
        tell(row.agent, "", event, audience="everyone")
    return True
