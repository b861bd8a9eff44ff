"""What all providers share: their one error, how failures are classified, and what a model is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from agentsite.engine.ports import ErrorKind, Model

_LONGEST_MESSAGE = 500
_SECRETS = re.compile(
    r"(?i)\b(?:sk|pk|xai|gsk|hf|AIza|AKIA|ASIA|ya29)[-_.]?[A-Za-z0-9_\-*.]{8,}"
    r"|\bBearer\s+\S+|(?<=key=)[^\s&\"']+"
)
_OVERFLOW = re.compile(
    r"(?i)prompt is too long|context[_ ](?:length|window)|maximum context|exceed\w* (?:the )?"
    r"(?:maximum|max|context)\b.*\btokens?|input token count.*exceeds|too many tokens"
    r"|reduce the length of the (?:messages|prompt|input)|request_too_large|input is too long"
)
_ACCOUNT = re.compile(r"(?i)credit balance is too low|api[_ ]key not valid|API_KEY_INVALID")
_KIND_BY_STATUS: dict[int, ErrorKind] = {
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    409: "server",
    413: "context_overflow",
    425: "server",
    429: "rate_limited",
    504: "timeout",
}
_KIND_BY_TYPE: dict[str, ErrorKind] = {
    "authentication_error": "auth",
    "permission_error": "auth",
    "billing_error": "auth",
    "invalid_api_key": "auth",
    "insufficient_quota": "auth",
    "unauthenticated": "auth",
    "permission_denied": "auth",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "resource_exhausted": "rate_limited",
    "throttlingexception": "rate_limited",
    "overloaded_error": "server",
    "api_error": "server",
    "server_error": "server",
    "internal_error": "server",
    "internal": "server",
    "unavailable": "server",
    "unknown": "server",
    "aborted": "server",
    "internal_server_error": "server",
    "vector_store_timeout": "timeout",
    "timeout_error": "timeout",
    "deadline_exceeded": "timeout",
    "request_too_large": "context_overflow",
    "context_length_exceeded": "context_overflow",
    "string_above_max_length": "context_overflow",
    "invalid_request_error": "bad_request",
    "invalid_argument": "bad_request",
    "failed_precondition": "bad_request",
    "not_found": "bad_request",
    "not_found_error": "bad_request",
    "invalid_prompt": "bad_request",
}


class ProviderError(Exception):
    """A model call failed. The message is fit for people and holds no secrets.

    `kind` decides what follows (see `fallback.py`), `status` is the HTTP status if there was
    one, `retry_after` the seconds the vendor asks to wait.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        provider: str,
        model: str,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        text = hide_secrets(message.strip() or "no details")
        if len(text) > _LONGEST_MESSAGE:
            text = text[: _LONGEST_MESSAGE - 1] + "…"
        super().__init__(f"{provider}/{model}: {text}")
        self.kind: ErrorKind = kind
        self.message = text
        self.provider = provider
        self.model = model
        self.status = status
        self.retry_after = retry_after


class VendorModel(Model, Protocol):
    """A model that also tells which key its calls count against."""

    limit_key: str
    """Same for all models whose calls share a vendor's rate limit; holds no secret."""

    def lease(self) -> AbstractAsyncContextManager[Any]:
        """Lend what a call goes through, made by the first that asks. Raises ProviderError."""
        ...


def hide_secrets(text: str) -> str:
    """Return text with everything that looks like a vendor's key taken out."""
    return _SECRETS.sub("[redacted]", text)


def classify(status: int | None, message: str, *types: str | None) -> ErrorKind:
    """Return the kind of a vendor's error from its types (most telling first) and status.

    A telling type wins over the status: an error event inside a 200 has none of its own.
    """
    known = [
        _KIND_BY_TYPE[kind.lower()] for kind in types if kind and kind.lower() in _KIND_BY_TYPE
    ]
    kind = known[0] if known else None
    if kind in (None, "bad_request") and status is not None and status >= 400:
        # OpenAI calls everything from 400 to 404 an invalid request.
        kind = _KIND_BY_STATUS.get(status, "server" if status >= 500 else "bad_request")
    if kind == "bad_request":
        # A prompt that is too long, a wrong key and an empty account are all reported as
        # invalid requests by one vendor or another.
        if _OVERFLOW.search(message):
            return "context_overflow"
        if _ACCOUNT.search(message):
            return "auth"
    return kind or "server"


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `Retry-After` (seconds or a date) ask for."""
    in_ms = headers.get("retry-after-ms")
    if in_ms is not None:
        return parse_seconds(in_ms, 0.001)
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = parse_seconds(value, 1.0)
    if seconds is not None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def parse_seconds(text: str, unit: float) -> float | None:
    try:
        return max(0.0, float(text) * unit)
    except ValueError:
        return None


def read_error_body(body: Any) -> dict[str, Any]:
    """Return the `error` object of a vendor's body, the body itself, or an empty object."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    if isinstance(inner, dict):
        return inner
    return {"message": inner} if isinstance(inner, str) else body


def text_of(value: Any) -> str | None:
    """Return a JSON value if it is a string that says something."""
    return value if isinstance(value, str) and value else None
