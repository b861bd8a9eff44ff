"""What callers send about memory, and what the OpenAPI document says of its routes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from agentsite.host.session_fields import Text
from agentsite.host.session_schema import SCOPE, ref
from agentsite.tools.memory import MAX_CATEGORY

AGENT = OpenApiParameter("agentId", str, description="The agent; the default one if left out.")


class MemoryQuery(serializers.Serializer[Any]):
    """Whose memory."""

    agentId = serializers.CharField(max_length=200, required=False)


class NewMemory(serializers.Serializer[Any]):
    """The body of a POST."""

    content = Text(max_length=100_000, help_text="One short, self-contained fact.")
    category = Text(max_length=MAX_CATEGORY, required=False, allow_blank=True)
    agentId = Text(max_length=200, required=False)
    scope_id = Text(max_length=200, required=False, allow_blank=True)


STRING = {"type": "string"}
TIME = {"type": "string", "format": "date-time"}
COUNT = {"type": "integer"}
ENTRY = {
    "type": "object",
    "properties": {
        "id": STRING,
        "content": STRING,
        "category": STRING,
        "created_at": TIME,
        "last_recalled_at": {"type": ["string", "null"], "format": "date-time"},
        "source": {
            "type": "object",
            "properties": {"session_id": STRING, "run_id": STRING},
            "description": "The conversation it comes from; empty if a caller wrote it.",
        },
    },
}
PAGE = {
    "type": "object",
    "properties": {
        "entries": {"type": "array", "items": ENTRY},
        "totalEntries": COUNT,
        "totalChars": COUNT,
        "maxEntries": COUNT,
        "maxTotalChars": COUNT,
    },
}
KEPT = {
    "type": "object",
    "properties": {"added": ENTRY, "merged": {"type": "boolean"}, "totalEntries": COUNT},
}


def _error(description: str) -> OpenApiResponse:
    return OpenApiResponse(response=ref("Error"), description=description)


def _describe(operation: str, **more: Any) -> dict[str, Any]:
    given: list[Any] = more.pop("parameters", [])
    return {
        "operation_id": operation,
        "tags": ["memory"],
        "parameters": [SCOPE, AGENT, *given],
        **more,
    }


OFF = _error("The agent is unknown or keeps no memory.")
READ_ONLY = _error("This agent's memory cannot be changed by callers.")
LIST = _describe(
    "listMemory",
    responses={200: OpenApiResponse(response=PAGE, description="Oldest first."), 404: OFF},
)
ADD = _describe(
    "addMemory",
    request=NewMemory,
    responses={
        201: OpenApiResponse(response=KEPT, description="It is kept."),
        200: OpenApiResponse(response=KEPT, description="An entry said the same."),
        400: _error("A field that is unknown or wrong; the message names it."),
        403: READ_ONLY,
        404: OFF,
        409: _error("The budget is used up; the details say which."),
    },
)
REMOVE = _describe(
    "removeMemory",
    responses={
        204: OpenApiResponse(description="It is gone."),
        403: READ_ONLY,
        404: _error("Unknown or foreign; the two cannot be told apart."),
    },
)
