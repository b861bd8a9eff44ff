"""Tables inside a page: runs and model calls of one conversation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sessions_app.admin.base import (
    MAX_ROWS,
    link,
    show_cost,
    show_money,
    show_ms,
    show_span,
    show_time,
    show_tokens,
)
from sessions_app.models import ModelCall, Run

Table = dict[str, Any]


def table(headers: list[str], rows: Iterable[list[Any]]) -> Table:
    """In the form of unfold's table component."""
    return {"headers": headers, "rows": list(rows)}


def table_of_runs(session_id: str) -> Table:
    """The newest runs of a session."""
    rows = Run.objects.filter(session_id=session_id).defer("state", "request")
    return table(
        ["Run", "Status", "Turns", "Tokens", "Cost", "Took", "Began"],
        (
            [
                link(Run, run.pk),
                run.reason or run.get_status_display(),
                run.turns,
                show_tokens(run),
                show_cost(run),
                show_span(run.created_at, run.ended_at),
                show_time(run.created_at),
            ]
            for run in rows.order_by("-created_at", "-pk")[:MAX_ROWS]
        ),
    )


def table_of_model_calls(**which: str) -> Table:
    """The newest model calls of a session or a run."""
    rows = ModelCall.objects.filter(**which).order_by("-pk")[:MAX_ROWS]
    return table(
        ["Call", "For", "Model", "Tokens", "Cost", "First token, whole"],
        (
            [
                link(ModelCall, call.pk, show_time(call.created_at)),
                f"{call.purpose}, failed: {call.error}" if call.error else call.purpose,
                f"{call.provider}/{call.model}",
                _split(call),
                show_money(call.cost_micros),
                f"{show_ms(call.first_token_ms)}, {show_ms(call.total_ms)}",
            ]
            for call in rows
        ),
    )


def _split(call: ModelCall) -> str:
    """Tokens that went in anew, came from the cache, and came out."""
    fresh = call.input + call.cache_write + call.cache_write_1h
    return f"{fresh:,} in, {call.cache_read:,} cached, {call.output + call.reasoning:,} out"
