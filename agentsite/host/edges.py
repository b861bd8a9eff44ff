"""The edge of every API view: what goes wrong becomes JSON that says what and why.

Law: one of the three places that catch everything. No answer ever carries a
traceback, a connection string or a key.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from corsheaders.middleware import CorsMiddleware
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from agentsite.host.clock import new_id
from agentsite.host.errors import Refusal, error_response
from agentsite.manifest.problems import ManifestError
from agentsite.telemetry.ids import carry
from agentsite.telemetry.spans import follow_caller

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]

logger = logging.getLogger(__name__)


def api(*methods: str) -> Callable[[View[P]], View[P]]:
    """Make an async function an API view for these methods."""

    def decorate(view: View[P]) -> View[P]:
        @functools.wraps(view)
        async def answer(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            carry(request_id=new_id("req"))
            follow_caller(request.headers)
            try:
                if request.method not in methods:
                    text = f"Use {' or '.join(methods)} here."
                    allow = {"Allow": ", ".join(methods)}
                    raise Refusal(405, "method_not_allowed", text, headers=allow)
                return await view(request, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - an edge; `explain` logs it
                return explain(error)

        answer.csrf_exempt = True  # type: ignore[attr-defined]  # Django's own way to say it
        return answer

    return decorate


def explain(error: Exception) -> JsonResponse:
    """What a caller is told of an error, and what the operators find in the log."""
    if isinstance(error, Refusal):
        return error.response()
    if isinstance(error, ManifestError):
        logger.error("the agent cannot be loaded: %s", error)
        text = "The agent's files have errors; `manage.py validate` lists them."
        return error_response(503, "agent_unavailable", text)
    reference = new_id("err")
    logger.error("request failed, reference %s", reference, exc_info=error)
    details = {"reference": reference}
    if isinstance(error, OperationalError | InterfaceError):
        text = "The database does not answer. Try again in a moment."
        return error_response(503, "database_unavailable", text, details, {"Retry-After": "5"})
    text = "Something went wrong on our side. Quote the reference to the operators."
    return error_response(500, "internal", text, details)


def read_json_body(request: HttpRequest) -> bytes:
    """The raw body of a JSON request.

    Another content type is refused: a browser sends `text/plain` across origins without asking.
    """
    kind = (request.content_type or "").lower()
    if kind != "application/json":
        text = f"Send the body as application/json, not as {kind or 'nothing'}."
        raise Refusal(415, "unsupported_media_type", text)
    return request.body


def check_origin(request: HttpRequest) -> None:
    """Refuse pages of other origins than those that may call this server. Raises `Refusal`."""
    origin = request.headers.get("origin")
    if not origin or urlsplit(origin).netloc == request.get_host():
        return
    allowed = CorsMiddleware(lambda request: HttpResponse())
    if not allowed.origin_found_in_white_lists(origin, urlsplit(origin)):
        text = f"Pages of {origin} may not call this server; CORS_ALLOWED_ORIGINS names who may."
        raise Refusal(403, "origin_forbidden", text)
