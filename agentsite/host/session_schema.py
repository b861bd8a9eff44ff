"""What the OpenAPI document says of the session routes: keywords for `extend_schema`.

Law: shapes are named here and described in `agentsite.schema_shapes`.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from agentsite.host import session_fields as fields

SCOPE = OpenApiParameter(
    "scope_id", str, description="The tenant partition; the empty one when it is left out."
)


def ref(name: str) -> dict[str, Any]:
    """A shape by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(shape: dict[str, Any] | None, description: str) -> OpenApiResponse:
    return OpenApiResponse(response=shape, description=description)


def _error(description: str) -> OpenApiResponse:
    return _answer(ref("Error"), description)


NOT_FOUND = _error("Unknown or foreign; the two cannot be told apart.")
OK = {"type": "object", "properties": {"ok": {"const": True}}, "required": ["ok"]}
CHANGED = {
    200: _answer(ref("Session"), "The session as it is now."),
    400: _error("A field that is unknown or wrong; the message names it."),
    404: NOT_FOUND,
    409: _error("The session has a live run."),
    410: _error("The session has expired."),
}


def _describe(operation: str, summary: str, **more: Any) -> dict[str, Any]:
    given: list[Any] = more.pop("parameters", [])
    return {
        "operation_id": operation,
        "summary": summary,
        "tags": [more.pop("tag", "sessions")],
        "parameters": [SCOPE, *given],
        **more,
    }


LIST = _describe(
    "listSessions",
    "List the caller's sessions, newest first.",
    parameters=[fields.SessionQuery],
    responses={
        200: _answer(ref("SessionPage"), "A page, newest first."),
        400: _error("A parameter that is wrong."),
    },
)
READ = _describe(
    "readSession",
    "Read a session with its messages.",
    responses={
        200: _answer(ref("SessionDetail"), "The session; of an expired one without messages."),
        404: NOT_FOUND,
    },
)
CHANGE = _describe(
    "changeSession",
    "Change title, tags, metadata, or archive.",
    request=fields.SessionChange,
    responses=CHANGED,
)
REPLACE = _describe(
    "putSession", "The same as PATCH.", request=fields.SessionChange, responses=CHANGED
)
DELETE = _describe(
    "deleteSession",
    "Delete a conversation; a live run is stopped first.",
    responses={204: _answer(None, "It is gone. Metering rows stay."), 404: NOT_FOUND},
)
STATE = _describe(
    "readSessionState",
    "Where a session stands, and its events behind a number.",
    parameters=[fields.StateQuery],
    responses={200: _answer(ref("SessionState"), "A consistent snapshot."), 404: NOT_FOUND},
)
ATTACHMENT = _describe(
    "readAttachment",
    "An image that a user sent.",
    responses={
        (200, kind): OpenApiTypes.BINARY
        for kind in ("image/png", "image/jpeg", "image/gif", "image/webp")
    }
    | {404: NOT_FOUND},
)
HISTORY_LIST = _describe(
    "listHistory",
    "The newest 500 sessions, as the reference client lists them.",
    tag="history",
    parameters=[fields.HistoryQuery],
    responses={200: _answer({"type": "array", "items": ref("Session")}, "The newest 500.")},
)
HISTORY_READ = _describe(
    "readHistory",
    "A session, as the reference client reads it.",
    tag="history",
    responses={200: _answer(ref("SessionDetail"), "The session."), 404: NOT_FOUND},
)
HISTORY_CHANGE = _describe(
    "changeHistory",
    "Change title and tags.",
    tag="history",
    request=fields.HistoryChange,
    responses={**CHANGED, 200: _answer(OK, "It is changed.")},
)
HISTORY_DELETE = _describe(
    "deleteHistory",
    "Delete a conversation.",
    tag="history",
    responses={200: _answer(OK, "It is gone."), 404: NOT_FOUND},
)
