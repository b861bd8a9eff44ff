"""`GET /metrics`: what this server does, for Prometheus.

Law: numbers of all scopes are for whoever may see all scopes. What stands in the database is read
when it is asked for, in one statement over partial indexes; the rest each process counts.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from prometheus_client import CONTENT_TYPE_LATEST

from agentsite.host.caller import identify
from agentsite.host.edges import api
from agentsite.host.errors import Refusal
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit
from agentsite.telemetry.metrics import Standing, expose

STANDING = {
    "queued_runs": (
        "Runs that wait for their session.",
        "SELECT count(*) FROM sessions_app_run WHERE status = 'queued'",
    ),
    "waiting_interactions": (
        "Questions that wait for a person.",
        "SELECT count(*) FROM sessions_app_interaction WHERE status = 'open'",
    ),
    "orphaned_runs": (
        "Runs whose lease has run out and that nobody has taken over yet.",
        "SELECT count(*) FROM sessions_app_run WHERE status = 'running' AND lease_until < now()",
    ),
    "open_automation_runs": (
        "Runs of automations that have not ended.",
        "SELECT count(*) FROM automations_app_automationrun"
        " WHERE status IN ('queued', 'running', 'waiting')",
    ),
    "pending_deliveries": (
        "Results and alerts on their way.",
        "SELECT count(*) FROM automations_app_delivery WHERE status = 'pending'",
    ),
    "oldest_delivery_seconds": (
        "How long the delivery that is due longest has been due.",
        "SELECT coalesce(extract(epoch FROM now() - min(next_try_at)), 0)"
        " FROM automations_app_delivery WHERE status = 'pending' AND next_try_at < now()",
    ),
}
"""By name: what it is, and the statement that counts it."""


@api("GET")
async def show_metrics(request: HttpRequest) -> HttpResponseBase:
    """Prometheus's text format. For staff, unbound ops keys, and where none is asked."""
    known = await identify(request)
    bound = known.is_bound or known.agents
    if known.kind in ("key", "token") and (bound or not known.has_role("ops")):
        text = "Metrics are of all scopes: for staff, and for ops keys that are bound to none."
        raise Refusal(403, "forbidden", text)
    act_for_all("metrics are of every scope")
    standing = Standing(await unit(read_standing))
    return HttpResponse(expose(standing, settings.METRICS_DIR), CONTENT_TYPE_LATEST)


def read_standing() -> list[tuple[str, str, float]]:
    """Name, what it is and how much, for each of `STANDING`."""
    columns = ", ".join(f"({query})" for _, query in STANDING.values())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns}")
        numbers = cursor.fetchone()
    return [
        (name, what, float(number))
        for (name, (what, _)), number in zip(STANDING.items(), numbers, strict=True)
    ]
