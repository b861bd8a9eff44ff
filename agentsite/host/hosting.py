"""A host in a thread of a process that is no web process: a Celery worker.

Law: runs live on its loop as they do behind the web: leased, renewed, taken over, handed over.
Other threads hand it coroutines and may wait for them; the loop waits for no thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import uvloop
from django.conf import settings

logger = logging.getLogger(__name__)

T = TypeVar("T")
START_SECONDS = 60.0
STOP_SECONDS = 10.0
"""What is left for handing over and letting go when the grace of the runs is over."""


class HostThread:
    """Everything in `settings.LIFESPAN`, on an event loop of its own."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="host", daemon=True)
        self._modules: list[ModuleType] = []
        self._grace = 0.0

    def start(self) -> None:
        """Return once it hosts. Raises what keeps it from that."""
        self._thread.start()
        self.call(self._open(), START_SECONDS)

    def call(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of a coroutine; it is cancelled after so many seconds (`TimeoutError`)."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(work, seconds), self._loop
        )
        return future.result()

    def begin_stop(self, grace: float) -> None:
        """Take no more runs; those that live have `grace` seconds. Returns at once."""
        self._grace = grace
        self._loop.call_soon_threadsafe(self._announce)

    def stop(self) -> None:
        """Return when all runs have ended or were handed over."""
        if not self._thread.is_alive():
            return
        try:
            self.call(self._close(), self._grace + STOP_SECONDS)
        except Exception:
            logger.exception("the host did not end cleanly")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _announce(self) -> None:
        for module in reversed(self._modules):
            module.stopping(self._grace)

    async def _open(self) -> None:
        for path in settings.LIFESPAN:
            module = await asyncio.to_thread(import_module, path)
            await module.startup()
            self._modules.append(module)

    async def _close(self) -> None:
        while self._modules:
            module = self._modules.pop()
            try:
                await module.shutdown()
            except Exception:
                logger.exception("%s did not shut down cleanly", module.__name__)


_hosting: HostThread | None = None


def host_thread() -> HostThread:
    """The host of this process. Raises `RuntimeError` where there is none."""
    if _hosting is None:
        raise RuntimeError("this process hosts no runs: tasks run in `celery worker` alone")
    return _hosting


def start_hosting() -> HostThread:
    """Make this process a host."""
    global _hosting
    hosting = HostThread()
    hosting.start()
    _hosting = hosting
    return hosting


def begin_stop_hosting(grace: float) -> None:
    """Take no more runs here; those that live have `grace` seconds."""
    if _hosting is not None:
        _hosting.begin_stop(grace)


def stop_hosting() -> None:
    """End the host of this process, if it has one."""
    global _hosting
    if _hosting is not None:
        hosting, _hosting = _hosting, None
        hosting.stop()
