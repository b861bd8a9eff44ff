"""The dashboard in words: tiles, charts and tables, each a link to the list behind it.

Law: whoever may not look at runs sees none of it; what has no list yet is no link.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.timesince import timesince

from agentsite.dashboard import automations, costs, figures
from agentsite.dashboard.figures import Waiting
from agentsite.operations.models import Alert, PinnedTool
from sessions_app.admin.formats import show_money, show_ms
from sessions_app.models import Run

Context = dict[str, Any]
DAY = "in the last day"


def fill(request: HttpRequest, context: Context) -> Context:
    """What the first page shows, beside Django's list of apps."""
    may: Any = request.user
    if may.has_perm("sessions_app.view_run"):
        context["tiles"] = [*_live(), *_ends(), *_automation_tiles(), *_watched(may)]
        context["pages"] = _pages(may)
    if may.has_perm("sessions_app.view_modelcall"):
        spent = costs.read_costs()
        context["cost_tiles"] = _cost_tiles(spent)
        context["charts"] = _charts(spent)
        context["scopes"] = [
            {
                "name": name or "(empty)",
                "cost": show_money(micros),
                "calls": f"{made:,}",
                "url": to_list("sessions_app_run", scope=name or "(empty)"),
            }
            for name, micros, made in spent.top_scopes
        ]
    return context


def find_styles(_request: HttpRequest) -> str:
    """The style sheet that every page of the admin has."""
    return static("sessions_app/admin_all.css")


def to_list(model: str, **query: str) -> str | None:
    """The address of a list; None while there is none."""
    try:
        address = reverse(f"admin:{model}_changelist", current_app=admin.site.name)
    except NoReverseMatch:
        return None
    return f"{address}?{urlencode(query)}" if query else address


def tile(
    title: str, value: str, note: str, url: str | None, *, bad: bool = False
) -> dict[str, Any]:
    """One figure."""
    return {"title": title, "value": value, "note": note, "url": url, "bad": bad}


def _since(waiting: Waiting) -> str:
    if waiting.since is None:
        return ""
    return f"the first for {timesince(waiting.since, timezone.now(), depth=1)}"


def _live() -> list[dict[str, Any]]:
    live = figures.read_live()
    runs = "sessions_app_run"
    return [
        tile("Live runs", live["running"].words, _since(live["running"]),
             to_list(runs, outcome="running")),
        tile("Waiting for a person", live["waiting"].words,
             f"{live['questions'].words} open questions", to_list(runs, outcome="waiting"),
             bad=live["waiting"].count > 0),
        tile("Queue", live["queued"].words, _since(live["queued"]),
             to_list(runs, outcome="queued"), bad=live["queued"].count > QUEUE),
    ]  # fmt: skip


QUEUE = 100
"""Queued messages that are worth a look."""
ERRORS = 5.0
"""Percent of failed runs that are."""


def _ends() -> list[dict[str, Any]]:
    seen = figures.read_runs()
    rate, runs = seen.error_rate, "sessions_app_run"
    note = f"{seen.looked_at:,} newest runs {DAY}"
    others = sum(count for name, count in seen.reasons.items() if name in Run.TROUBLE)
    return [
        tile("Failed", "-" if rate is None else f"{rate:.1f} %", note,
             to_list(runs, outcome="error"), bad=(rate or 0) > ERRORS),
        tile("Not a good end", f"{others:,}", note, to_list(runs, outcome="trouble")),
        tile("First delta", _ms(seen.first_delta.p50), f"p95 {_ms(seen.first_delta.p95)}",
             to_list("sessions_app_modelcall", purpose="main")),
        tile("Duration", _ms(seen.duration.p50), f"p95 {_ms(seen.duration.p95)}",
             to_list(runs, outcome="good")),
    ]  # fmt: skip


def _ms(value: float | None) -> str:
    return show_ms(None if value is None else round(value))


def _automation_tiles() -> list[dict[str, Any]]:
    plan, sent = automations.read_schedule(), automations.read_deliveries()
    last = "nothing was due yet"
    if plan.last_due is not None:
        last = f"last due {timesince(plan.last_due, timezone.now(), depth=1)} ago"
    runs, deliveries = "automations_app_automationrun", "automations_app_delivery"
    return [
        tile("Scheduler", f"{plan.stuck:,} stuck", f"{last}; {plan.missed:,} missed {DAY}",
             to_list("automations_app_occurrence"), bad=plan.stuck + plan.missed > 0),
        tile("Automations at work", plan.open_runs.words, _since(plan.open_runs), to_list(runs)),
        tile("Automations failed", f"{plan.failed:,}", DAY,
             to_list(runs, status__exact="failed"), bad=plan.failed > 0),
        tile("Deliveries due", sent.due.words, _since(sent.due), to_list(deliveries)),
        tile("Dead letters", f"{sent.dead:,}", DAY, to_list(deliveries, status__exact="dead"),
             bad=sent.dead > 0),
    ]  # fmt: skip


MOST_ALERTS = 100


def _watched(may: Any) -> list[dict[str, Any]]:
    """Alerts that nobody has closed, and tools of MCP servers that wait for a word."""
    found = []
    if may.has_perm("operations.view_alert"):
        rows = Alert.objects.filter(closed_at=None).order_by("-created_at", "-id")
        newest = list(rows.values_list("title", flat=True)[:MOST_ALERTS])
        count = f"{len(newest)}" if len(newest) < MOST_ALERTS else f"{MOST_ALERTS} or more"
        note = Truncator(newest[0]).chars(80) if newest else ""
        url = to_list("operations_alert", state="open")
        found.append(tile("Open alerts", count, note, url, bad=bool(newest)))
    if may.has_perm("operations.view_pinnedtool"):
        waiting = PinnedTool.objects.filter(status=PinnedTool.Status.WAITING, listed=True).count()
        url = to_list("operations_pinnedtool", status__exact=PinnedTool.Status.WAITING)
        title = "Changed tools of MCP servers"
        found.append(tile(title, f"{waiting:,}", "wait for you", url, bad=waiting > 0))
    return found


def _pages(may: Any) -> list[tuple[str, str]]:
    """Pages that are no list of a table."""
    pages = [("Agents and what models are told of them", reverse("agents"))]
    if may.has_perm("automations_app.view_automation"):
        pages.append(("Automations", reverse("automations")))
    if may.has_perm("sessions_app.view_usageday"):
        pages.append(("Cost and usage", reverse("admin:sessions_app_usageday_changelist")))
    return pages


def _cost_tiles(spent: costs.Costs) -> list[dict[str, Any]]:
    calls = "sessions_app_modelcall"
    odd = f"{spent.unpriced_today:,} calls without a known price" if spent.unpriced_today else ""
    return [
        tile("Cost today", show_money(spent.today), odd, to_list(calls), bad=bool(odd)),
        tile(f"Cost of {costs.DAYS} days", show_money(spent.total), "",
             to_list("sessions_app_usageday") or to_list(calls)),
    ]  # fmt: skip


def _charts(spent: costs.Costs) -> list[dict[str, Any]]:
    usage = to_list("sessions_app_usageday") or to_list("sessions_app_modelcall")
    return [
        {
            "title": f"Cost by {what}, {costs.DAYS} days",
            "data": costs.chart(lines, spent.days),
            "url": usage,
            "rows": [
                {"name": name, "total": show_money(sum(line)), "today": show_money(line[-1])}
                for name, line in lines.items()
            ],
        }
        for what, lines in (
            ("agent", spent.by_agent),
            ("model", spent.by_model),
            ("dearest scopes", spent.by_scope),
        )
    ]
