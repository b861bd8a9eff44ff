"""The ASGI application: static files, then Django, and what starts and ends with the server.

Law: each module in `settings.LIFESPAN` has coroutines `startup()` and `shutdown()`, and a plain
`stopping(grace)`, called when the end begins, with the seconds that open answers have left. A
startup that fails stops the server; shutdowns run in reverse, all, whatever one of them raises.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, MutableMapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")

import django
from django.conf import settings

django.setup(set_prefix=False)

# What follows knows the apps, so they are there first.
from agentsite.body_limit import BodyLimit  # noqa: E402
from agentsite.handler import Handler  # noqa: E402
from agentsite.statics import StaticFiles  # noqa: E402

if TYPE_CHECKING:
    from agentsite.statics import App, Receive, Scope, Send

log = logging.getLogger(__name__)

CUT_OFF = (
    b'{"error":{"code":"shutting_down",'
    b'"message":"The server is about to stop. Send the request again."}}'
)
CUT_HEADERS = [(b"content-type", b"application/json"), (b"retry-after", b"1")]


class Lifespan:
    """Answers the server's lifespan messages and passes every request on."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.started: list[ModuleType] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the one lifespan conversation of this process."""
        if scope["type"] != "lifespan":
            await self._serve(scope, receive, send)
            return
        await receive()
        try:
            await self.start()
        except Exception as problem:
            log.exception("The server cannot start.")
            await self.stop()
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; whoever is cut off before the answer begins is told so in JSON."""
        begun = cut = False

        def tell(message: MutableMapping[str, Any]) -> Awaitable[None]:
            nonlocal begun
            begun = True
            return _drop() if cut else send(message)

        try:
            await self.app(scope, receive, tell)
        except asyncio.CancelledError:  # by the server, at the end of its grace
            cut = True
            if not begun:
                await send({"type": "http.response.start", "status": 503, "headers": CUT_HEADERS})
                await send({"type": "http.response.body", "body": CUT_OFF})
            raise

    async def start(self) -> None:
        """Start each module in order."""
        for path in settings.LIFESPAN:
            module = await asyncio.to_thread(import_module, path)
            await module.startup()
            self.started.append(module)

    def announce_stop(self, grace: float) -> None:
        """Tell every module that answers have `grace` seconds left; called on the event loop."""
        for module in reversed(self.started):
            module.stopping(grace)

    async def stop(self) -> None:
        """Stop what was started, last first."""
        while self.started:
            module = self.started.pop()
            try:
                await module.shutdown()
            except Exception:
                log.exception("%s did not shut down cleanly.", module.__name__)


async def _drop() -> None:
    """Send nothing: the answer was cut off."""


application = Lifespan(StaticFiles(BodyLimit(cast("App", Handler()))))
