"""One request passed on to an ASGI application, and its answer as one of Django's.

Law: the application runs in a task of its own that never outlives the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase

from agentsite.host.replies import Relay

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
WAITING = 16
"""Pieces of an answer that may wait for a slow client."""
OURS = {b"connection", b"content-length"}
"""Headers that whoever sends the answer decides."""


async def pass_on(app: App, scope: dict[str, Any], body: bytes) -> HttpResponseBase:
    """The application's answer: whole, or a stream that may still be coming."""
    exchange = Exchange(app, scope, body)
    try:
        start = await exchange.next()
        told = {k.decode(): v.decode("latin-1") for k, v in start["headers"] if k not in OURS}
        if told.get("content-type", "").startswith("text/event-stream"):
            loop = asyncio.get_running_loop()

            def stop() -> None:  # Django closes responses on a thread
                loop.call_soon_threadsafe(exchange.stop)

            return Relay(exchange.pieces(), stop, start["status"], told)
        content = b"".join([piece async for piece in exchange.pieces()])
        return HttpResponse(content, status=start["status"], headers=told)
    except BaseException:
        exchange.stop()
        raise


class Exchange:
    """The conversation with the application about one request."""

    def __init__(self, app: App, scope: dict[str, Any], body: bytes) -> None:
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        self._sent: asyncio.Queue[Message] = asyncio.Queue(WAITING)
        self._task = asyncio.ensure_future(app(scope, self._receive, self._sent.put))
        self._task.add_done_callback(_look_at)

    async def _receive(self) -> Message:
        """The whole body, then nothing until the client has gone."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def next(self) -> Message:
        """What the application sends next. Raises what it raised, if it ends before that."""
        getting = asyncio.ensure_future(self._sent.get())
        try:
            await asyncio.wait({getting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            getting.cancel()
            raise
        if getting.done():
            return getting.result()
        getting.cancel()
        if not self._sent.empty():
            return self._sent.get_nowait()
        await self._task
        raise RuntimeError("the application ended without an answer")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer's body, to its end."""
        try:
            more = True
            while more:
                message = await self.next()
                more = bool(message.get("more_body", False))
                if piece := message.get("body", b""):
                    yield piece
        finally:
            self.stop()

    def stop(self) -> None:
        """The client has gone, or has its answer. On the event loop's thread; may be repeated."""
        self._gone.set()
        self._task.cancel()


def _look_at(task: asyncio.Future[None]) -> None:
    """Nobody may be left to hear how it ended."""
    if not task.cancelled():
        task.exception()
