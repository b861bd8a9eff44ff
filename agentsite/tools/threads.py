"""Runs a blocking function beside the event loop, on a thread of its own.

A pool would let a few stuck handlers stop all others, and would hold up the end
of the process; a daemon thread per call does neither.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_in_thread(work: Callable[[], T], name: str) -> T:
    """Return what `work` returns, or raise what it raises.

    A cancelled await returns at once; the thread cannot be stopped and runs out alone.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T when there is no error

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(work)
        except BaseException as caught:  # noqa: BLE001 - carried over to the awaiting task
            error = RuntimeError(repr(caught)) if isinstance(caught, StopIteration) else caught
        post(loop, lambda: settle(result, error))

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future


def post(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    """Run `work` on the loop, from any thread; nothing happens once the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(work)
