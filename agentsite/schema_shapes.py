"""JSON shapes that the OpenAPI document names, besides those that serializers give.

Law: `spec/http-and-sse.md`; a test holds real answers against them.
"""

from __future__ import annotations

from typing import Any

from sessions_app.models import Session

Shape = dict[str, Any]
STRING: Shape = {"type": "string"}
INTEGER: Shape = {"type": "integer"}
BOOLEAN: Shape = {"type": "boolean"}
OBJECT: Shape = {"type": "object", "additionalProperties": True}
TIME: Shape = {"type": "string", "format": "date-time"}
REASONS = [
    "model_stop",
    "max_turns",
    "loop_detected",
    "budget_exceeded",
    "user_abort",
    "error",
    "stopped",
    "awaiting_confirmation",
]


def ref(name: str) -> Shape:
    """A shape by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(items: Shape) -> Shape:
    """A list."""
    return {"type": "array", "items": items}


def nullable(*types: str) -> Shape:
    """One of these types, or null."""
    return {"type": [*types, "null"]}


def shape(properties: Shape, *optional: str, **more: Any) -> Shape:
    """An object; every property but the optional ones is always there."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


USAGE = shape(
    dict.fromkeys(
        ("input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens", "total_tokens"),
        INTEGER,
    )
)
COST = shape({"currency": {"const": "USD"}, "estimatedCostMicros": nullable("integer")})
COST["description"] = "Micro-dollars; null as soon as one price is unknown."
TOOL_CALL = shape(
    {
        "toolId": STRING,
        "toolName": STRING,
        "args": OBJECT,
        "parameters": OBJECT,
        "status": {"enum": ["running", "success", "error"]},
        "result": nullable("string"),
        "error": nullable("string"),
        "duration_ms": nullable("integer"),
        "running_label": nullable("string"),
        "completed_label": nullable("string"),
        "internal": BOOLEAN,
    }
)
MESSAGE = shape(
    {
        "id": STRING,
        "type": {"enum": ["user", "assistant_text", "summary", "error"]},
        "role": STRING,
        "text": STRING,
        "timestamp": TIME,
        "runId": STRING,
        "toolCalls": many(ref("ToolCall")),
        "contentBlocks": many(OBJECT),
        "widgets": many(shape({"widgetType": STRING, "data": OBJECT})),
        "partial": BOOLEAN,
    },
    "partial",
)
SESSION = shape(
    {
        "id": STRING,
        "agent": STRING,
        "scope_id": STRING,
        "title": STRING,
        "tags": many(STRING),
        "status": {"enum": list(Session.Status.values)},
        "message_count": INTEGER,
        "token_usage": ref("Usage"),
        "cost": ref("Cost"),
        "model": STRING,
        "provider": STRING,
        "automation": STRING,
        "run": ref("LiveRun"),
        "metadata": OBJECT,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "automation",
    "run",
    "metadata",
)
LIVE_RUN = shape({"id": STRING, "status": STRING, "firstSeq": INTEGER})
EVENT = shape({"id": INTEGER, "event": STRING, "data": OBJECT})
CHAT_CALL = shape(
    {
        "id": STRING,
        "name": STRING,
        "args": OBJECT,
        "status": {"enum": ["running", "success", "error"]},
        "result": nullable("string"),
        "error": nullable("string"),
    },
    "result",
    "error",
)
SHAPES: dict[str, Shape] = {
    "Error": shape({"error": shape({"code": STRING, "message": STRING, "details": {}}, "details")}),
    "Usage": USAGE,
    "Cost": COST,
    "LiveRun": LIVE_RUN,
    "Session": SESSION,
    "SessionPage": shape({"sessions": many(ref("Session")), "nextCursor": nullable("string")}),
    "SessionDetail": {
        "allOf": [
            ref("Session"),
            shape(
                {
                    "lastSeq": INTEGER,
                    "messages": many(ref("Message")),
                    "pendingInteractions": many(OBJECT),
                }
            ),
        ]
    },
    "SessionState": shape(
        {
            "id": STRING,
            "title": STRING,
            "status": STRING,
            "run": ref("LiveRun"),
            "pendingInteractions": many(OBJECT),
            "queue": many(OBJECT),
            "events": many(ref("Event")),
            "lastSeq": INTEGER,
        },
        "run",
    ),
    "Message": MESSAGE,
    "ToolCall": TOOL_CALL,
    "Event": EVENT,
    "ChatAnswer": shape(
        {
            "sessionId": STRING,
            "session_id": STRING,
            "runId": STRING,
            "response": STRING,
            "toolCalls": many(CHAT_CALL),
            "tool_calls": many(CHAT_CALL),
            "usage": ref("Usage"),
            "cost": ref("Cost"),
            "reason": {"enum": REASONS},
            "pendingInteractions": many(OBJECT),
        },
        "pendingInteractions",
    ),
    "Accepted": shape(
        {"ok": {"const": True}, "sessionId": STRING, "runId": STRING, "status": STRING},
        "sessionId",
    ),
    "Health": shape(
        {
            "status": {"const": "ok"},
            "version": STRING,
            "uptime_ms": INTEGER,
            "active_sessions": INTEGER,
            "live_runs": INTEGER,
            "automations": many(OBJECT),
        }
    ),
    "Readiness": shape(
        {
            "status": {"enum": ["ready", "unavailable"]},
            "checks": {
                "type": "object",
                "additionalProperties": shape(
                    {"ok": BOOLEAN, "problem": STRING, "warnings": many(STRING)},
                    "problem",
                    "warnings",
                ),
            },
            "failing": many(STRING),
            "error": OBJECT,
        },
        "failing",
        "error",
    ),
}
