"""Refusals before a stream starts: JSON with a code, a sentence and the right status."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from django.http import JsonResponse

from agentsite.host.redaction import CALLERS, LOGS, redactor_of


class Refusal(Exception):
    """A request that cannot be served, and what to tell the caller."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = details, headers or {}

    def response(self) -> JsonResponse:
        return error_response(self.status, self.code, self.message, self.details, self.headers)


def error_body(code: str, message: str, details: Any = None) -> dict[str, Any]:
    """The one shape of an error: `{"error": {"code", "message", "details"?}}`."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    return {"error": error}


def error_response(
    status: int,
    code: str,
    message: str,
    details: Any = None,
    headers: dict[str, str] | None = None,
) -> JsonResponse:
    # What a caller sent may come back in words that explain it; whoever reads them is that caller.
    for redactor in (LOGS.redactor, redactor_of(CALLERS.get())):
        message = redactor.text(message)
        details = redactor.value(details, keys=False)
    return JsonResponse(error_body(code, message, details), status=status, headers=headers)


def session_not_found() -> Refusal:
    return Refusal(
        404, "session_not_found", "There is no such session. Start one without a sessionId."
    )


def unknown_field(key: str, known: Iterable[str]) -> Refusal:
    """A body has a key that nobody reads."""
    near = difflib.get_close_matches(key, known, 1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return Refusal(400, "unknown_field", f'"{key}" is not a known field.{hint}')
