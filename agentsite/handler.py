"""Django's way from ASGI to a view and back, shorter where a view needs no thread.

Law: Django begins and ends each request on a thread that it makes for it, because pages may have
left a database connection there. The views of the API are coroutines, and what rows they touch is
a unit's business (`rows/units.py`); so they are served on the event loop alone. A busy loop would
have to hand the interpreter over to such a thread and wait to get it back, twice a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.urls import set_script_prefix

T = TypeVar("T")

HEEDLESS = "/webhooks"
"""What a sender does here while it waits changes nothing: nobody listens for its leaving."""
THREADLESS = (
    HEEDLESS,
    "/chat",
    "/sessions",
    "/ask-user-response",
    "/widget-actions",
    "/api/events",
    "/api/feedback",
    "/api/memory",
    "/api/stores",
)
"""All views whose addresses begin so are coroutines that leave nothing behind."""


class Handler(ASGIHandler):
    """Serves HTTP; see the module."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"].startswith(THREADLESS):
            await self._serve(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    @classmethod
    def chunk_bytes(cls, data: Sequence[T]) -> Iterator[tuple[Sequence[T], bool]]:
        """The pieces in which a body leaves, each with whether it is the last."""
        if len(data) <= cls.chunk_size:  # all that streams: no generator for each of its pieces
            return iter(((data, True),))
        return super().chunk_bytes(data)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body: Any = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            request, refusal = self.create_request(scope, body)
            answering = self._answer(request, refusal, send)
            if scope["path"].startswith(HEEDLESS):
                await answering
            else:
                await _answer_until_left(answering, receive)

    async def _answer(self, request: Any, refusal: Any, send: Any) -> None:
        response = refusal if request is None else await self.run_get_response(request)
        try:
            await self.send_response(response, send)
        finally:
            response.close()


async def _answer_until_left(answer: Coroutine[Any, Any, None], receive: Any) -> None:
    """Answer; whoever leaves meanwhile cancels it."""
    answering, leaving = asyncio.create_task(answer), asyncio.create_task(_read_on(receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
    if not answering.cancelled():
        answering.result()


async def _read_on(receive: Any) -> None:
    """Until the client has left: nothing else can follow a whole body."""
    while (await receive())["type"] != "http.disconnect":
        pass
