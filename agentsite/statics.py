"""Static files, served before Django: an API request costs one string comparison here.

Law: whitenoise finds the files and answers conditional requests; reading happens on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import IO, Any

from django.conf import settings
from whitenoise.middleware import WhiteNoiseMiddleware

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CHUNK = 256 * 1024


class StaticFiles:
    """An ASGI app that answers for `STATIC_URL` and passes everything else on."""

    def __init__(self, app: App) -> None:
        self.app = app

    @cached_property
    def finder(self) -> WhiteNoiseMiddleware:
        """Whitenoise over the apps' own files: no copying step, nothing to forget."""
        return WhiteNoiseMiddleware(get_response=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a static file or pass on."""
        if scope["type"] != "http" or not scope["path"].startswith(settings.STATIC_URL):
            await self.app(scope, receive, send)
            return
        status, headers, body = await asyncio.to_thread(self._find, scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while body is not None and (chunk := await asyncio.to_thread(body.read, CHUNK)):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if body is not None:
            body.close()
        await send({"type": "http.response.body", "body": b""})

    def _find(self, scope: Scope) -> tuple[int, list[tuple[bytes, bytes]], IO[bytes] | None]:
        path = scope["path"]
        found = (
            self.finder.find_file(path) if self.finder.autorefresh else self.finder.files.get(path)
        )
        if found is None:
            return 404, [(b"content-type", b"text/plain")], None
        environ = {
            "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        answer = found.get_response(scope["method"], environ)
        headers = [*answer.headers, ("X-Content-Type-Options", "nosniff")]
        encoded = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers]
        return int(answer.status), encoded, answer.file
