"""Traces and metrics in OpenTelemetry's GenAI conventions.

A run is `invoke_agent`, a request to a model `chat`, or `embeddings` where it asks for vectors, a
call of a tool `execute_tool`. Without the extra `otel` and an `OTEL_EXPORTER_OTLP_ENDPOINT` the
API's own do-nothing objects serve.
Names: the Semantic Conventions for Generative AI, and the `gen_ai.client` metrics.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

PROVIDERS = {"google": "gcp.gemini"}
"""Where the conventions call a vendor otherwise than we do."""
OPERATIONS = {"embedding": "embeddings"}
"""How the conventions call requests of a purpose; all others are `chat`."""
SCOPE = "agentsite"
Attributes = dict[str, Any]


@contextmanager
def invoking(agent: str, session_id: str, run_id: str, attempt: int) -> Iterator[Span]:
    """The span of an agent at work; what it calls stands below it."""
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent,
        "gen_ai.conversation.id": session_id,
        "agentsite.run.id": run_id,
        "agentsite.run.attempt": attempt,
    }
    tracer = trace.get_tracer(SCOPE)
    with tracer.start_as_current_span(f"invoke_agent {agent}", attributes=attributes) as span:
        yield span


def end_of(span: Span, reason: str) -> None:
    """How an agent's work ended."""
    span.set_attribute("agentsite.run.reason", reason)
    if reason == "error":
        span.set_status(Status(StatusCode.ERROR))


def follow_caller(headers: Mapping[str, str]) -> None:
    """Let the spans of this task continue the caller's trace (`traceparent`), if it sent one."""
    if "traceparent" in headers:
        context.attach(propagate.extract(headers))


def add_model_call(
    *,
    provider: str,
    model: str,
    input_tokens: int,
    cache_read: int,
    cache_write: int,
    output_tokens: int,
    seconds: float,
    error: str,
    purpose: str,
) -> None:
    """The span of a request that has just ended, and its metrics."""
    operation = OPERATIONS.get(purpose, "chat")
    common: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
    }
    failed = {"error.type": error} if error else {}
    attributes = {
        **common,
        **failed,
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
        "gen_ai.usage.cache_read.input_tokens": cache_read,
        "gen_ai.usage.cache_creation.input_tokens": cache_write,
        "agentsite.purpose": purpose,
    }
    _add_span(f"{operation} {model}", SpanKind.CLIENT, attributes, seconds, error)
    meter = metrics.get_meter(SCOPE)
    meter.create_histogram("gen_ai.client.operation.duration", "s").record(
        seconds, {**common, **failed}
    )
    used = meter.create_histogram("gen_ai.client.token.usage", "{token}")
    used.record(input_tokens, {**common, "gen_ai.token.type": "input"})
    used.record(output_tokens, {**common, "gen_ai.token.type": "output"})


def add_tool_call(tool: str, call_id: str, seconds: float, status: str) -> None:
    """The span of a tool's call that has just ended."""
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": call_id,
    }
    error = "" if status == "ok" else status
    if error:
        attributes["error.type"] = error
    _add_span(f"execute_tool {tool}", SpanKind.INTERNAL, attributes, seconds, error)


def _add_span(
    name: str, kind: SpanKind, attributes: Attributes, seconds: float, error: str
) -> None:
    now = time.time_ns()
    tracer = trace.get_tracer(SCOPE)
    span = tracer.start_span(
        name, kind=kind, attributes=attributes, start_time=now - round(seconds * 1e9)
    )
    if error:
        span.set_status(Status(StatusCode.ERROR))
    span.end(now)
