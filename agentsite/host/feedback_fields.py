"""What callers send about an answer, and what the OpenAPI document says of the route."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from agentsite.host.session_fields import Text
from agentsite.host.session_schema import SCOPE, ref


class NewFeedback(serializers.Serializer[Any]):
    """The body of a POST."""

    sessionId = Text(max_length=64)
    messageId = Text(max_length=80, help_text="An answer's id, as in `GET /sessions/{id}`.")
    rating = serializers.ChoiceField(choices=["up", "down"])
    comment = Text(max_length=4_000, required=False, allow_blank=True)
    scope_id = Text(max_length=200, required=False, allow_blank=True)


class FeedbackQuery(serializers.Serializer[Any]):
    """Of which session."""

    sessionId = serializers.CharField(max_length=64)


KEPT = {"type": "object", "properties": {"ok": {"type": "boolean"}, "id": {"type": "integer"}}}
GIVEN = {
    "type": "object",
    "properties": {
        "feedback": {
            "type": "object",
            "additionalProperties": {"type": "string", "enum": ["up", "down"]},
            "description": "By message.",
        }
    },
}
MISSING = OpenApiResponse(response=ref("Error"), description="No such session or answer.")
SESSION = OpenApiParameter("sessionId", str, required=True, description="Of which session.")
RATE: dict[str, Any] = {
    "operation_id": "rate_answer",
    "tags": ["feedback"],
    "parameters": [SCOPE],
    "request": NewFeedback,
    "responses": {200: KEPT, 404: MISSING},
}
LIST: dict[str, Any] = {
    "operation_id": "list_feedback",
    "tags": ["feedback"],
    "parameters": [SCOPE, SESSION],
    "responses": {200: GIVEN, 404: MISSING},
}
