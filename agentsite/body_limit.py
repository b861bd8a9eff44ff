"""No body larger than its limit gets further than here: an ASGI wrapper around Django.

Law: a declared length is judged before a byte is read, any other body is counted while
it is read, whatever the method: Django reads that of a GET as well. The answer leaves at
once; what the client still sends is taken in for a while and thrown away, because a client
that is cut off while it sends sees no answer.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from agentsite.host.errors import error_body

if TYPE_CHECKING:
    from agentsite.statics import App, Receive, Scope, Send

LINGER_SECONDS = 10.0
LINGER_BYTES = 256 * 1024 * 1024


class BodyLimit:
    """Passes every request on whose body is small enough."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        if not declared:
            await self._count(scope, receive, send)
        elif len(declared) > 1 or not declared[0].isdigit():
            text = "The Content-Length header is not a number."
            await refuse(scope, receive, send, 400, "invalid_request", text)
        elif int(declared[0][:20]) > (limit := limit_of(scope)):
            await refuse(scope, receive, send, 413, "body_too_large", describe(limit))
        else:
            await self.app(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = limit_of(scope)
        size = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            # For Django the client has gone: it answers nothing and lets go of the body.
            return message if size <= limit else {"type": "http.disconnect"}

        await self.app(scope, counted, send)
        if size > limit:
            await refuse(scope, receive, send, 413, "body_too_large", describe(limit))


def limit_of(scope: Scope) -> int:
    """Bytes that this route takes."""
    path: str = scope["path"]
    is_chat = path == "/chat" or path.startswith("/chat/")
    return settings.BODY_LIMIT_CHAT if is_chat else settings.BODY_LIMIT


def describe(limit: int) -> str:
    """What is wrong with the body."""
    shown = f"{limit // 1024**2} MB" if limit >= 1024**2 else f"{limit // 1024} KB"
    return f"The body is larger than {shown}, the most that this route takes."


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, text: str
) -> None:
    """Answer, listen until the client has finished, then have the connection closed."""
    body = json.dumps(error_body(code, text)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *allow_origin(scope),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            await _drain(receive)
    except TimeoutError:
        pass  # it has had its answer for long
    await send({"type": "http.response.body", "body": b""})


def allow_origin(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What lets a page of another origin read the answer, as the middleware would say it."""
    request, response = ASGIRequest(dict(scope), io.BytesIO()), HttpResponse()
    response.headers.pop("Content-Type", None)
    CorsMiddleware(lambda request: response).add_response_headers(request, response)
    return [(name.lower().encode(), value.encode()) for name, value in response.items()]


async def _drain(receive: Receive) -> None:
    left = LINGER_BYTES
    more = True
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = bool(message.get("more_body", False))
