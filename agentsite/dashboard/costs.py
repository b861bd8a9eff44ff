"""What was spent today and over two weeks, from the daily sums.

Law: the sums are those of the metering rows (`sessions_app.usage`); what has no known price is
told beside them, never as zero.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from django.db.models import Sum
from django.utils import timezone

from sessions_app.usage import AgentDay, UsageDay

DAYS = 14
LINES = 5
"""Agents, models or scopes of their own in a chart; the rest is added up."""
COLOURS = ("#7c3aed", "#0891b2", "#d97706", "#16a34a", "#db2777", "#64748b")
OTHERS = "others"


class Costs(msgspec.Struct, frozen=True):
    """Money in micro-dollars."""

    today: int
    unpriced_today: int
    """Calls of today without a known price."""
    days: list[dt.date]
    by_agent: dict[str, list[int]]
    by_model: dict[str, list[int]]
    by_scope: dict[str, list[int]]
    """Per day each; the dearest names, then the others together."""
    top_scopes: list[tuple[str, int, int]]
    """The dearest scopes over all the days: name, cost, calls."""

    @property
    def total(self) -> int:
        """Of all the days."""
        return sum(sum(line) for line in self.by_agent.values())


def read_costs() -> Costs:
    """From two weeks ago up to now; days are UTC."""
    today = timezone.now().astimezone(dt.UTC).date()
    days = [today - dt.timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    agents = AgentDay.objects.filter(day__gte=days[0])
    scopes = UsageDay.objects.filter(day__gte=days[0])
    dearest = list(
        scopes.values_list("scope_id")
        .annotate(cost=Sum("cost_micros"), made=Sum("calls"))
        .order_by("-cost", "scope_id")[:10]
    )
    now = agents.filter(day=today).aggregate(cost=Sum("cost_micros"), odd=Sum("unpriced"))
    return Costs(
        today=now["cost"] or 0,
        unpriced_today=now["odd"] or 0,
        days=days,
        by_agent=add_lines(agents.values_list("day", "agent").annotate(Sum("cost_micros")), days),
        by_model=add_lines(
            ((d, f"{p}/{m}", c) for d, p, m, c in agents.values_list("day", "provider", "model")
             .annotate(Sum("cost_micros"))),
            days,
        ),
        by_scope=_scope_lines([name for name, _, _ in dearest[:LINES]], scopes, days),
        top_scopes=[(name, int(cost or 0), int(made or 0)) for name, cost, made in dearest],
    )  # fmt: skip


def add_lines(rows: Any, days: list[dt.date]) -> dict[str, list[int]]:
    """One line for each of the dearest names, in the order of the days."""
    lines: dict[str, list[int]] = {}
    for day, name, cost in rows:
        line = lines.setdefault(str(name), [0] * len(days))
        if day in days:
            line[days.index(day)] += int(cost or 0)
    ordered = sorted(lines, key=lambda name: (-sum(lines[name]), name))
    kept = {name: lines[name] for name in ordered[:LINES]}
    if len(ordered) > LINES:
        rest = [lines[name] for name in ordered[LINES:]]
        kept[OTHERS] = [sum(column) for column in zip(*rest, strict=True)]
    return kept


def _scope_lines(names: list[str], scopes: Any, days: list[dt.date]) -> dict[str, list[int]]:
    """Only the dearest scopes are read one by one: there may be very many."""
    chosen = scopes.filter(scope_id__in=names).values_list("day", "scope_id")
    return add_lines(
        ((day, name or "(empty)", cost) for day, name, cost in chosen.annotate(Sum("cost_micros"))),
        days,
    )


def chart(lines: dict[str, list[int]], days: list[dt.date]) -> str:
    """Stacked bars in dollars, for Chart.js."""
    sets = [
        {
            "label": name,
            "data": [round(micros / 1e6, 4) for micros in line],
            "backgroundColor": colour,
            "stack": "cost",
            "displayYAxis": True,
        }
        for (name, line), colour in zip(lines.items(), COLOURS, strict=False)
    ]
    told = {"labels": [f"{day:%b %d}" for day in days], "datasets": sets}
    return msgspec.json.encode(told).decode()
