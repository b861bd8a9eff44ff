"""Figures as text: one table for each subject, then every bar with what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from agentsite.management.bench.figures import Bar, Figures

FIRST = "Added time to first delta, ms (a new session each)"
SECURITY = "Row-level security: added time to first delta with and without, ms"
COSTS = "costs"
REAL_TIME = "Real time: 50 deltas a second and stream"
FLAT = "Flat out: deltas as fast as the model sends them"
MEMORY = "Memory of the web process, MB"
IDLE = "Database connections, and another request (GET /sessions/{id}, ms) beside the streams"
STORES = "Stores over REST, and the search of past sessions, ms"
ADMIN = "Pages of the admin, ms (a signed-in operator, one page after the other)"
WEBHOOKS = "Webhooks, 20 at a time, answered when stored (ms); a tenth sent twice, a tenth forged"

BARS = (
    Bar(FIRST, "alone", "added p50", 5, "direct p50"),
    Bar(FIRST, "50 streams", "added p95", 15, "direct p95"),
    Bar(SECURITY, COSTS, "percent", 10),
    Bar(REAL_TIME, "200 streams", "server µs/delta", 70),
    Bar(REAL_TIME, "200 streams", "p95 ms", 15, "direct p95"),
    *(
        Bar(FLAT, f"{count} stream{'s' * (count > 1)}", "deltas/s", 20_000, "direct", at_least=True)
        for count in (1, 10, 50, 100, 200, 300)
    ),
    Bar(MEMORY, "web process", "200 streams open", 210),
    Bar(MEMORY, "web process", "growth %", 5),
    Bar(IDLE, "200 streams", "held", 0),
    Bar(IDLE, "500 idle streams", "held", 0),
    Bar(IDLE, "500 idle streams", "slower by ms", 5),
    Bar(WEBHOOKS, "2,000 webhooks", "p95", 50),
    Bar(WEBHOOKS, "2,000 webhooks", "wrong", 0),
    Bar(STORES, "lists, 1,000,000 documents", "p95", 50),
    Bar(STORES, "put, 1,000,000 documents", "p95", 5),
    Bar(STORES, "search_sessions, 100,000 messages", "p95", 100),
    Bar(ADMIN, "slowest page, 1,000,000 runs", "p95", 300),
)


def show(figures: Figures, bars: Iterable[Bar] = BARS) -> str:
    """All tables, then the bars whose figures were measured."""
    parts = [show_table(name, figures.rows(name)) for name in figures.tables()]
    return "\n\n".join([*parts, show_bars(figures, bars)])


def show_table(title: str, rows: dict[str, dict[str, float]]) -> str:
    """One table under its title."""
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    lines = [["", *columns]]
    for row, cells in rows.items():
        lines.append([row, *(number(cells[c]) if c in cells else "" for c in columns)])
    return "\n".join([title, *align(lines)])


def show_bars(figures: Figures, bars: Iterable[Bar]) -> str:
    """Each bar, the median with its range, the direct baseline, and whether it holds."""
    lines = [["bar", "must be", "median", "range", "direct", ""]]
    for bar in bars:
        values = figures.values(bar.table, bar.row, bar.column)
        if not values:
            continue
        middle = statistics.median(values)
        direct = figures.values(bar.table, bar.row, bar.baseline)
        lines.append(
            [
                f"{bar.table.partition(',')[0].partition(':')[0]}: {bar.row}, {bar.column}",
                f"{'≥' if bar.at_least else '≤'} {number(bar.limit)}",
                number(middle),
                f"{number(min(values))} to {number(max(values))}",
                number(statistics.median(direct)) if direct else "",
                "holds" if bar.holds(middle) else "MISSES",
            ]
        )
    return "\n".join(["Bars (medians of all runs)", *align(lines)])


def align(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their columns under each other, the first to the left."""
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def number(value: float) -> str:
    """Three significant digits, thousands whole."""
    if value != value:  # NaN: nothing was seen
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
