"""The dashboard in words: tiles, charts and tables, each a link to the list behind it.

Law: whoever may not look at runs sees none of it; a link leads to the rows of its figure, no more.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.timesince import timesince

from agentsite.dashboard import automations, costs, figures
from agentsite.dashboard.figures import Waiting
from agentsite.dashboard.links import CALLS, RUNS, to_days, to_last_day, to_list, to_usage
from agentsite.jobs.absence import NO_LEADER, NO_WORKER
from agentsite.jobs.leading import is_leaderless
from agentsite.jobs.queue import are_tasks_left
from agentsite.operations.models import Alert, PinnedTool
from sessions_app.admin.formats import show_money, show_ms, show_sum
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
                "url": to_days(RUNS, spent.days, scope=name or "(empty)"),
            }
            for name, micros, made in spent.top_scopes
        ]
    return context


def find_styles(_request: HttpRequest) -> str:
    """The style sheet that every page of the admin has."""
    return static("sessions_app/admin_all.css")


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
    return [
        tile("Live runs", live["running"].words, _since(live["running"]),
             to_list(RUNS, outcome="running")),
        tile("Waiting for a person", live["waiting"].words,
             f"{live['questions'].words} open questions", to_list(RUNS, outcome="waiting"),
             bad=live["waiting"].count > 0),
        tile("Queue", live["queued"].words, _since(live["queued"]),
             to_list(RUNS, outcome="queued"), bad=live["queued"].count > QUEUE),
    ]  # fmt: skip


QUEUE = 100
"""Queued messages that are worth a look."""
ERRORS = 5.0
"""Percent of failed runs that are."""


def _ends() -> list[dict[str, Any]]:
    seen = figures.read_runs()
    rate = seen.error_rate
    note = f"{seen.looked_at:,} newest runs {DAY}"
    others = sum(count for name, count in seen.reasons.items() if name in Run.TROUBLE)
    return [
        tile("Failed", "-" if rate is None else f"{rate:.1f} %", note,
             to_last_day(RUNS, outcome="error", kind="own"), bad=(rate or 0) > ERRORS),
        tile("Not a good end", f"{others:,}", note,
             to_last_day(RUNS, outcome="trouble", kind="own")),
        tile("First delta", _ms(seen.first_delta.p50), f"p95 {_ms(seen.first_delta.p95)}",
             to_last_day(CALLS, purpose="main")),
        tile("Duration", _ms(seen.duration.p50), f"p95 {_ms(seen.duration.p95)}",
             to_last_day(RUNS, outcome="ended", kind="own")),
    ]  # fmt: skip


def _ms(value: float | None) -> str:
    return show_ms(None if value is None else round(value))


def _automation_tiles() -> list[dict[str, Any]]:
    plan, sent = automations.read_schedule(), automations.read_deliveries()
    runs, deliveries = "automations_app_automationrun", "automations_app_delivery"
    return [
        _scheduler_tile(plan),
        tile("Automations at work", plan.open_runs.words, _since(plan.open_runs),
             to_list(runs, status__exact="open")),
        tile("Automations failed", f"{plan.failed:,}", DAY,
             to_last_day(runs, status__exact="failed"), bad=plan.failed > 0),
        tile("Deliveries due", sent.due.words, _since(sent.due),
             to_list(deliveries, status__exact="due")),
        tile("Dead letters", f"{sent.dead:,}", DAY,
             to_last_day(deliveries, status__exact="dead"), bad=sent.dead > 0),
    ]  # fmt: skip


def _scheduler_tile(plan: automations.Schedule) -> dict[str, Any]:
    """Whether what is due is fired and worked on: what `/ready` asks, and what came of it."""
    last = "nothing was due yet"
    if plan.last_due is not None:
        last = f"last due {timesince(plan.last_due, timezone.now(), depth=1)} ago"
    notes = [f"{last}; {plan.missed:,} missed {DAY}"]
    # Told at once, but no fault before it has lasted: another may be about to lead.
    no_worker, no_leader = are_tasks_left(), is_leaderless()
    if no_worker:
        notes.insert(0, "tasks wait and no worker takes them")
    if no_leader:
        notes.insert(0, "no beat process fires what is due")
    lasting = (NO_WORKER.lasts(no_worker), NO_LEADER.lasts(no_leader))
    down = any(lasting)
    url = to_last_day("automations_app_occurrence", "due_at")
    if plan.stuck:
        url = to_list("automations_app_automationrun", status__exact="stuck")
    elif plan.missed:
        url = to_last_day("automations_app_occurrence", "due_at", status__exact="missed")
    value = "down" if down else f"{plan.stuck:,} stuck"
    bad = down or plan.stuck + plan.missed > 0
    return tile("Scheduler", value, "; ".join(notes), url, bad=bad)


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
        which = {"status__exact": PinnedTool.Status.WAITING.value, "listed__exact": "1"}
        url = to_list("operations_pinnedtool", **which)
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
    odd = f"{spent.unpriced_today:,} calls without a known price" if spent.unpriced_today else ""
    today = spent.days[-1:]
    missing = to_days(CALLS, today, trouble="unpriced")
    return [
        tile("Cost today", show_sum(spent.today), odd,
             missing if odd else to_usage(today, "model"), bad=bool(odd)),
        tile(f"Cost of {costs.DAYS} days", show_sum(spent.total), "",
             to_usage(spent.days, "day")),
    ]  # fmt: skip


def _charts(spent: costs.Costs) -> list[dict[str, Any]]:
    return [
        {
            "title": f"Cost by {what}, {costs.DAYS} days",
            "data": costs.chart(lines, spent.days),
            "url": to_usage(spent.days, by),
            "rows": [
                {"name": name, "total": show_money(sum(line)), "today": show_money(line[-1])}
                for name, line in lines.items()
            ],
        }
        for what, by, lines in (
            ("agent", "agent", spent.by_agent),
            ("model", "model", spent.by_model),
            ("dearest scopes", "scope", spent.by_scope),
        )
    ]
