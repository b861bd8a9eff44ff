"""The OpenAPI document: what drf-spectacular cannot see is added to it here.

Law: every route of `urls.py` is described (a test checks it). The chat routes are
plain async views with a pydantic body, so their part comes from that body's schema.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from pydantic import BaseModel

from agentsite.bus.catalogue import CATALOGUE, describe
from agentsite.host.answer_views import AnswerBody, WidgetBody
from agentsite.host.bodies import ChatBody
from agentsite.schema_events import EVENTS
from agentsite.schema_hooks import webhook_paths
from agentsite.schema_shapes import OBJECT, SHAPES, STRING, Shape, nullable, ref, shape

DOCS = SpectacularSwaggerSplitView.as_view(url_name="schema")
SCHEMA = SpectacularAPIView.as_view()
SESSION_ID = {"name": "session_id", "in": "path", "required": True, "schema": STRING}
SCOPE = {"name": "scope_id", "in": "query", "schema": STRING}
AFTER = "The number of the last event that was seen; the stream goes on behind it."
STREAM = (
    "Frames `id: <number>`, `event: <name>`, `data: <one line of JSON>`. Every data object has "
    "`type` and `timestamp` besides what the table lists; unknown names and keys are to be "
    "ignored. Comments (`: keepalive`) keep the connection alive.\n\n"
    "| event | data |\n|---|---|\n"
    + "".join(f"| `{name}` | {text} |\n" for name, text in EVENTS.items())
)


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: add shapes and the routes it does not know."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas |= SHAPES
    for body in (ChatBody, AnswerBody, WidgetBody):
        schemas |= _shapes_of(body)
    result["paths"] |= _chat_paths() | _answer_paths() | _bus_paths() | webhook_paths()
    result["paths"] |= _mcp_paths() | _other_paths()
    result["paths"] = dict(sorted(result["paths"].items()))
    return result


def _shapes_of(body: type[BaseModel]) -> Shape:
    """A pydantic model and what it refers to, by name."""
    made = body.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**made.pop("$defs", {}), body.__name__: made}


def _json(name: str, description: str) -> Shape:
    return {"description": description, "content": {"application/json": {"schema": ref(name)}}}


def _events(description: str) -> Shape:
    return {"description": description, "content": {"text/event-stream": {"schema": STRING}}}


def _errors(*statuses: int) -> Shape:
    return {str(status): _json("Error", REFUSALS[status]) for status in statuses}


REFUSALS = {
    400: "A field that is unknown, missing or wrong; the message names it.",
    404: "There is no such session, or it is not the caller's.",
    409: "The session has a live run, or the question was answered before.",
    410: "The session, or the question, has expired.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The idempotency key was used with another body.",
    429: "The server is full; `Retry-After` says when to come back.",
    502: "The run ended in an error.",
    503: "The server cannot serve this now.",
}


def _body(name: str) -> Shape:
    return {"required": True, "content": {"application/json": {"schema": ref(name)}}}


def _header(name: str, description: str) -> Shape:
    return {"name": name, "in": "header", "description": description, "schema": STRING}


IDEMPOTENCY = (
    "The same key and body within 24 h is the same run; 410 when its session has expired since."
)
CALLED_TWICE = "The same key and arguments of `chat` within 24 h is the same run."


def _chat(operation: str, summary: str, answers: Shape) -> Shape:
    return {
        "post": {
            "operationId": operation,
            "tags": ["chat"],
            "summary": summary,
            "parameters": [
                _header("Idempotency-Key", IDEMPOTENCY),
                _header("Last-Event-ID", AFTER),
            ],
            "requestBody": _body("ChatBody"),
            "responses": {
                "200": answers,
                **_errors(400, 404, 409, 410, 413, 415, 422, 429, 502, 503),
            },
        }
    }


def _chat_paths() -> Shape:
    whole = _json("ChatAnswer", "The whole answer, when the run has ended.")
    stream = _events(STREAM)
    either = {
        "description": "JSON, or the stream for whoever accepts `text/event-stream`.",
        "content": {**whole["content"], **stream["content"]},
    }
    return {
        "/chat": _chat("chat", "Say something and get the answer.", either),
        "/chat/stream": _chat("chatStream", "Say something and watch the run.", stream),
        "/chat/sync": _chat("chatSync", "Say something and get the answer, always JSON.", whole),
    }


def _answer_paths() -> Shape:
    def answer(operation: str, summary: str, body: str, *parameters: Shape) -> Shape:
        return {
            "post": {
                "operationId": operation,
                "tags": ["questions"],
                "summary": summary,
                "parameters": list(parameters),
                "requestBody": _body(body),
                "responses": {
                    "200": _json("Accepted", "It counts; the run goes on by itself."),
                    **_errors(400, 404, 409, 410, 413, 415, 503),
                },
            }
        }

    text = "Answer an open question of a session."
    return {
        "/ask-user-response": answer("answer", text, "AnswerBody"),
        "/chat/sessions/{session_id}/ask-user-response": answer(
            "answerInSession", text, "AnswerBody", SESSION_ID
        ),
        "/widget-actions": answer("act", "Tell what a person did in a widget.", "WidgetBody"),
    }


def _get(operation: str, tag: str, summary: str, responses: Shape, *parameters: Shape) -> Shape:
    return {
        "get": {
            "operationId": operation,
            "tags": [tag],
            "summary": summary,
            "parameters": list(parameters),
            "responses": responses,
        }
    }


BUS = (
    "Frames `id: <number>`, `event: <name>`, `data: <one line of JSON>`. Every data object has "
    "`type`, `appId`, `scope_id`, `seq` and `timestamp` besides what the table lists. The first "
    "frame is `stream-open`, or `stream-reset` when what follows `Last-Event-ID` is no longer "
    "there: then read anew what you show.\n\n| event | data |\n|---|---|\n"
    + "".join(f"| `{name}` | {describe(name)} |\n" for name in CATALOGUE)
)


def _bus_paths() -> Shape:
    return {
        "/api/events": _get(
            "events",
            "server",
            "Follow what changes in the caller's scope; with `all=1`, for staff, everywhere.",
            {"200": _events(BUS), **_errors(400)},
            SCOPE,
            {"name": "all", "in": "query", "schema": {"type": "string", "enum": ["0", "1"]}},
            _header("Last-Event-ID", AFTER),
        )
    }


def _mcp_paths() -> Shape:
    def talk(operation: str, summary: str, *parameters: Shape) -> Shape:
        message = {"application/json": {"schema": OBJECT}}
        return {
            "post": {
                "operationId": operation,
                "tags": ["mcp"],
                "summary": summary,
                "description": "Streamable HTTP without sessions, protocols 2025-11-25 and "
                "2026-07-28: the tools `chat`, `answer` and `stop`, and the agent's stores as "
                "resources `store://{store}` and `store://{store}/{key}`.",
                "parameters": [SCOPE, _header("Idempotency-Key", CALLED_TWICE), *parameters],
                "requestBody": {"required": True, "content": message},
                "responses": {
                    "200": {
                        "description": "A JSON-RPC answer, or a stream of messages that ends with "
                        "it for whoever accepts `text/event-stream`.",
                        "content": {**message, "text/event-stream": {"schema": STRING}},
                    },
                    "202": {"description": "A notification was taken."},
                    **_errors(400, 404, 413, 415, 429, 503),
                },
            }
        }

    agent_id = {"name": "agent_id", "in": "path", "required": True, "schema": STRING}
    agent = {"name": "agentId", "in": "query", "schema": STRING}
    return {
        "/mcp": talk("mcp", "Talk to an agent by the Model Context Protocol.", agent),
        "/mcp/{agent_id}": talk("mcpOfAgent", "The same for one of several agents.", agent_id),
    }


def _other_paths() -> Shape:
    after = {"name": "after", "in": "query", "description": AFTER, "schema": {"type": "integer"}}
    stopped = shape({"ok": {"const": True}, "runId": nullable("string")})
    interrupt = {
        "operationId": "interrupt",
        "tags": ["sessions"],
        "summary": "Stop the live run, if there is one.",
        "parameters": [SESSION_ID, SCOPE],
        "responses": {
            "200": {
                "description": "The run that was told to stop, or null.",
                "content": {"application/json": {"schema": stopped}},
            },
            **_errors(404),
        },
    }
    return {
        "/sessions/{session_id}/events": _get(
            "followSession",
            "sessions",
            "Follow the session: its log behind a number, then live.",
            {"200": _events(STREAM), **_errors(400, 404, 410)},
            SESSION_ID,
            SCOPE,
            after,
            _header("Last-Event-ID", AFTER),
        ),
        "/sessions/{session_id}/interrupt": {"post": interrupt},
        "/health": _get(
            "health", "server", "The process lives.", {"200": _json("Health", "It does.")}
        ),
        "/metrics": _get(
            "metrics",
            "server",
            "What all processes do, for Prometheus: staff and ops keys without scopes.",
            {
                "200": {"description": "Metrics.", "content": {"text/plain": {"schema": STRING}}},
            },
        ),
        "/ready": _get(
            "ready",
            "server",
            "The server can serve.",
            {"200": _json("Readiness", "It can."), "503": _json("Readiness", "Which part cannot.")},
        ),
        "/api/schema": _get(
            "schema",
            "server",
            "This document.",
            {
                "200": {
                    "description": "OpenAPI 3.1.",
                    "content": {"application/vnd.oai.openapi+json": {"schema": OBJECT}},
                }
            },
        ),
    }
