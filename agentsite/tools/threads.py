"""Runs a blocking function beside the event loop, on a thread of its own.

A pool would let a few stuck handlers stop all others, and would hold up the end
of the process; a daemon thread per call does neither.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Stopped(BaseException):
    """Raised in a thread whose call was cancelled; not an Exception, so few catch it."""


async def run_in_thread(
    work: Callable[[], T], name: str, left: Callable[[asyncio.Future[T]], None] | None = None
) -> T:
    """Return what `work` returns, or raise what it raises.

    A cancelled await returns at once, and `Stopped` is raised in the thread: at its next
    step of Python, which ends loops and chains of calls; what waits in C ends first. `left`
    takes what a thread comes to that was still at its work then.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()
    finished = False

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T when there is no error

    def run() -> None:
        nonlocal finished
        result, error = None, None
        try:
            try:
                result = context.run(work)
            finally:
                finished = True
        except BaseException as caught:  # noqa: BLE001 - carried over to the awaiting task
            error = RuntimeError(repr(caught)) if isinstance(caught, StopIteration) else caught
        post(loop, lambda: settle(result, error))

    def run_quietly() -> None:
        with suppress(Stopped):  # it may come when all is done
            run()

    thread = threading.Thread(target=run_quietly, name=name, daemon=True)
    thread.start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop(thread, lambda: finished)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if left is not None:
            left(future)
        raise


def stop(thread: threading.Thread, is_finished: Callable[[], bool]) -> None:
    """Raise `Stopped` in a thread of ours that is still at its work."""
    if thread.ident is not None and thread.is_alive() and not is_finished():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped)
        )


def post(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    """Run `work` on the loop, from any thread; nothing happens once the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(work)
