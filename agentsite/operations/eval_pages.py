"""What the pages of evals show, in words."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils.http import urlencode

from agentsite.operations.eval_cells import Cell, Change, add, compare, make_cells
from agentsite.operations.eval_rows import find_earlier
from agentsite.operations.evals import EvalResult, EvalRun

MARKS = {"pending": "waits", "skipped": "not run"}
CHANGES: dict[Change, str] = {"worse": "got worse", "better": "better than before"}
JUDGED = {True: "passed", False: "failed", None: "not judged"}


def dollars(micros: int | None) -> str:
    """Micro-dollars as dollars; an unknown price is never shown as zero."""
    return "unknown" if micros is None else f"${micros / 1_000_000:,.6f}"


def milliseconds(ms: int | None) -> str:
    """A duration."""
    if ms is None:
        return "-"
    return f"{ms:,} ms" if ms < 10_000 else f"{ms / 1000:,.1f} s"


def describe_run(row: EvalRun) -> dict[str, Any]:
    """The matrix of an eval run: a line for each eval, a column for each model."""
    results = list(row.results.defer("tool_calls", "query").order_by("pk"))
    cells = make_cells(results)
    earlier = find_earlier(row, row.evals, row.model_names)
    before = {key: Cell(*key, tuple(rows)).good for key, rows in earlier.items()}
    changes = compare(cells, before)
    lines = [
        {
            "name": name,
            "title": next((each.title for each in results if each.name == name), "") or name,
            "history": history_url(row.agent, name),
            "cells": [
                _describe_cell(cells[name, model], changes[name, model])
                for model in row.model_names
                if (name, model) in cells
            ],
        }
        for name in row.evals
    ]
    ended = not row.results.filter(status__in=EvalResult.OPEN).exists()
    return {
        "lines": lines,
        "models": row.model_names,
        "sums": [_sum_up(list(cells.values()), model) for model in row.model_names],
        "live": row.status in EvalRun.OPEN,
        "stopping": row.stop_requested_at is not None and row.status in EvalRun.OPEN,
        "count": len(results),
        "open": sum(each.status in EvalResult.OPEN for each in results),
        "cost": dollars(row.cost_micros if row.cost_known else None),
        "judging": dollars(add([each.judge_micros for each in results if each.run_id]))
        if ended
        else "-",
        "judge": row.judge or "the agent's main model",
        "worse": sum(change == "worse" for change in changes.values()) if ended else 0,
    }


def _describe_cell(cell: Cell, change: Change) -> dict[str, Any]:
    ended = cell.mark not in ("running", "pending")
    return {
        "model": cell.model,
        "mark": cell.mark,
        "word": MARKS.get(cell.mark, cell.mark),
        "score": f"{cell.passed} of {cell.count}" if cell.count > 1 else "",
        "change": CHANGES.get(change, "") if ended and cell.mark != "skipped" else "",
        "latency": milliseconds(cell.latency_ms),
        "cost": dollars(cell.cost_micros) if ended else "-",
        "results": [{"repeat": each.repeat, "url": result_url(each)} for each in cell.results],
        "why": list(dict.fromkeys(filter(None, map(_say_why, cell.results)))),
    }


def _say_why(each: EvalResult) -> str:
    """The first thing that is wrong with a result."""
    bad = [one for one in each.assertions if one["passed"] is not True]
    return each.error or (f"{bad[0]['text']}: {bad[0]['reason']}" if bad else "")


def _sum_up(cells: list[Cell], model: str) -> dict[str, str]:
    mine = [cell for cell in cells if cell.model == model]
    took = [cell.latency_ms for cell in mine if cell.latency_ms is not None]
    ended = all(cell.mark not in ("running", "pending") for cell in mine)
    return {
        "model": model,
        "good": f"{sum(cell.good for cell in mine)} of {len(mine)} passed",
        "latency": milliseconds(round(sum(took) / len(took)) if took else None),
        "cost": dollars(add([cell.cost_micros for cell in mine])) if ended else "-",
    }


def describe_result(row: EvalResult) -> dict[str, Any]:
    """One result with its assertions and calls."""
    return {
        "run": row.eval_run,
        "run_url": reverse("admin:operations_evalrun_change", args=[quote(row.eval_run_id)]),
        "timeline": reverse("admin:sessions_app_run_change", args=[quote(row.run_id)])
        if row.run_id
        else "",
        "history": history_url(row.agent, row.name),
        "word": row.get_status_display(),
        "facts": {
            "Model": row.model,
            "Took": milliseconds(row.duration_ms),
            "Turns": str(row.turns),
            "Cost": dollars(row.cost_micros) if row.ended_at and row.run_id else "-",
            "Judge's cost": dollars(row.judge_micros) if row.ended_at and row.run_id else "-",
            "Tokens": f"{row.input_tokens:,} in, {row.output_tokens:,} out",
        },
        "assertions": [{**each, "word": JUDGED[each["passed"]]} for each in row.assertions],
        "calls": [{**each, "arguments": _indent(each["arguments"])} for each in row.tool_calls],
    }


def _indent(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:  # it was cut
        return text


def history_url(agent: str, name: str) -> str:
    """The results of one eval over time."""
    query = urlencode({"agent__exact": agent, "name__exact": name})
    return f"{reverse('admin:operations_evalresult_changelist')}?{query}"


def result_url(each: EvalResult) -> str:
    """The page of a result."""
    return reverse("admin:operations_evalresult_change", args=[each.pk])
