"""What callers send about automations, and what the OpenAPI document says of their routes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from agentsite.host.session_schema import SCOPE, ref
from automations_app.rest import MAX_RUNS

AGENT = OpenApiParameter("agentId", str, description="The agent; the default one if left out.")
ALL = OpenApiParameter("agentId", str, description="Of this agent only.")
KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key and body within 24 h is the same run.",
)
STRING = {"type": "string"}
OR_NULL = {"type": ["string", "null"]}
TIME = {"type": ["string", "null"], "format": "date-time"}
FLAG = {"type": "boolean"}
AUTOMATION = {
    "type": "object",
    "properties": {
        "name": STRING,
        "title": STRING,
        "agent": STRING,
        "prompt": {"type": "string", "description": "For callers that may set it off."},
        "trigger": {"enum": ["cron", "webhook", "manual"]},
        "schedule": STRING,
        "timezone": STRING,
        "webhookTriggered": FLAG,
        "running": {"type": "boolean", "description": "Something besides people sets it off."},
        "paused": FLAG,
        "writeEnabled": FLAG,
        "nextRun": TIME,
        "lastRun": TIME,
        "lastRunStatus": STRING,
        "lastRunError": STRING,
        "lastRunSessionId": STRING,
    },
}
RUN_ROW = {
    "type": "object",
    "properties": {
        "id": STRING,
        "status": {"enum": ["queued", "running", "waiting", "success", "error"]},
        "source": {"enum": ["cron", "webhook", "manual", "retry"]},
        "tries": {"type": "integer"},
        "sessionId": OR_NULL,
        "runId": OR_NULL,
        "output": STRING,
        "error": OR_NULL,
        "lastToolCall": OR_NULL,
        "cost": {"type": "object"},
        "createdAt": TIME,
        "startedAt": TIME,
        "endedAt": TIME,
        "durationMs": {"type": ["integer", "null"]},
    },
}


class Which(serializers.Serializer[Any]):
    """The body of a POST, which may be left out; it may also name the scope."""

    agentId = serializers.CharField(max_length=200, required=False)


class RunsQuery(serializers.Serializer[Any]):
    """A page of runs."""

    agentId = serializers.CharField(max_length=200, required=False)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_RUNS, required=False)
    cursor = serializers.CharField(max_length=400, required=False)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _error(description: str) -> OpenApiResponse:
    return OpenApiResponse(response=ref("Error"), description=description)


def _told(shape: dict[str, Any], description: str) -> OpenApiResponse:
    return OpenApiResponse(response=shape, description=description)


def _describe(
    operation: str, responses: dict[Any, Any], *parameters: Any, takes_body: bool = False
) -> dict[str, Any]:
    return {
        "operation_id": operation,
        "tags": ["automations"],
        "parameters": [SCOPE, *parameters],
        "request": Which if takes_body else None,
        "responses": responses,
    }


FORBIDDEN = {
    403: _error("The caller's role or scope does not allow it."),
    404: _error("There is no such automation."),
}
REUSED = _error("The idempotency key was used with another body.")
DONE = _object(automation=STRING, runId=STRING, sessionId=OR_NULL, status=STRING, output=STRING)
TURNED = _object(status=STRING, automation=STRING)
LIST = _describe(
    "listAutomations",
    {200: _told(_object(automations={"type": "array", "items": AUTOMATION}), "By name.")},
    ALL,
)
RUN = _describe(
    "runAutomation",
    {
        200: _told(DONE, "It succeeded."),
        202: _told(DONE, "It waits for a person."),
        422: REUSED,
        500: _told(_object(error=STRING, matched=FLAG), "It failed; the error says why."),
        **FORBIDDEN,
    },
    AGENT,
    KEY,
    takes_body=True,
)
STREAM = _describe(
    "streamAutomation",
    {(200, "text/event-stream"): _told(STRING, "The run's events."), 422: REUSED, **FORBIDDEN},
    AGENT,
    KEY,
    takes_body=True,
)
START = _describe(
    "startAutomation",
    {200: _told(TURNED, "It is on."), 409: _error("It is on, or has no schedule."), **FORBIDDEN},
    AGENT,
    takes_body=True,
)
STOP = _describe(
    "stopAutomation",
    {200: _told(TURNED, "It is off."), 409: _error("It is off, or has no schedule."), **FORBIDDEN},
    AGENT,
    takes_body=True,
)
RUNS = _describe(
    "listAutomationRuns",
    {
        200: _told(
            _object(runs={"type": "array", "items": RUN_ROW}, nextCursor=OR_NULL), "A page."
        ),
        400: _error("A wrong limit or cursor."),
        404: FORBIDDEN[404],
    },
    AGENT,
    OpenApiParameter("limit", int, description=f"1 to {MAX_RUNS}; 50 if left out."),
    OpenApiParameter("cursor", str, description="`nextCursor` of the page before."),
)
