"""What happens in this process, told to its metrics and traces in one place each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span

from agentsite.telemetry import metrics, spans

UNKNOWN_TOOL = "(unknown)"
"""The label of all tools that there are not."""


@contextmanager
def running(agent: str, session_id: str, run_id: str, attempt: int) -> Iterator[Span]:
    """One attempt of a run, from here to its end in this process."""
    metrics.RUNS_BEGUN.labels(agent).inc()
    metrics.LIVE_RUNS.inc()
    with metrics.RUN_TIME.labels(agent).time():
        try:
            with spans.invoking(agent, session_id, run_id, attempt) as span:
                yield span
        finally:
            metrics.LIVE_RUNS.dec()


def ended(span: Span, agent: str, reason: str) -> None:
    """A run has ended."""
    metrics.RUNS_ENDED.labels(agent, reason).inc()
    spans.end_of(span, reason)


def model_called(
    *,
    agent: str,
    provider: str,
    model: str,
    purpose: str,
    tokens: dict[str, int],
    cost_micros: int | None,
    first_token_ms: int | None,
    total_ms: int,
    error: str,
) -> None:
    """A request to a model is over; `tokens` by the disjoint classes of `engine.deltas.Usage`."""
    metrics.MODEL_CALLS.labels(agent, provider, model, purpose, error).inc()
    metrics.MODEL_TIME.labels(provider, model).observe(total_ms / 1000)
    if first_token_ms is not None:
        metrics.FIRST_TOKEN.labels(provider, model).observe(first_token_ms / 1000)
    for kind, count in tokens.items():
        if count:
            metrics.TOKENS.labels(agent, provider, model, kind).inc(count)
    if cost_micros is None:
        metrics.UNPRICED.labels(provider, model).inc()
    else:
        metrics.COST.labels(agent, provider, model).inc(cost_micros)
    written = tokens.get("cache_write", 0) + tokens.get("cache_write_1h", 0)
    read = tokens.get("cache_read", 0)
    spans.add_model_call(
        provider=provider,
        model=model,
        input_tokens=tokens.get("input", 0) + read + written,  # the conventions count all of them
        cache_read=read,
        cache_write=written,
        output_tokens=tokens.get("output", 0) + tokens.get("reasoning", 0),
        seconds=total_ms / 1000,
        error=error,
        purpose=purpose,
    )


def tool_called(agent: str, tool: str, call_id: str, duration_ms: int, status: str) -> None:
    """A tool's call has its result."""
    metrics.TOOL_CALLS.labels(agent, tool, status).inc()
    metrics.TOOL_TIME.labels(tool).observe(duration_ms / 1000)
    spans.add_tool_call(tool, call_id, duration_ms / 1000, status)
