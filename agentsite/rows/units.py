"""Short synchronous units of database work, run on threads beside the event loop.

Law: a unit awaits nothing and holds a connection only while it runs. Units that wait for a
thread hold none, so a thousand of them get by with a pool of eight. What acts for one scope
is one transaction as the tenant role; what acts for all makes its own, as the owner.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar, cast

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

from agentsite.rows.tenancy import SNAPSHOT, Mode, behalf, tenant

P = ParamSpec("P")
T = TypeVar("T")


async def unit(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn(*args, **kwargs)` on one of the threads for rows and return its result.

    On behalf of whoever is acted for (`tenancy`), else `NobodyNamed`: for a scope in one
    transaction, which what `fn` raises undoes (but not what it had committed in one trip by
    `Together.send(sent)`). Context variables are copied in. When the await
    is cancelled the unit still runs to its end, as a transaction must, and cleans up.
    """
    return await _run_on_thread(partial(_act, "", partial(fn, *args, **kwargs)))


async def snapshot_unit(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for reads that must agree with each other: all see the same moment.

    Only for one scope; nothing can be written.
    """
    return await _run_on_thread(partial(_act, SNAPSHOT, partial(fn, *args, **kwargs)))


async def _run_on_thread(call: Callable[[], T]) -> T:
    behalf()  # a refusal belongs to whoever asks, before anything is queued
    loop = asyncio.get_running_loop()
    # A future of our own: cancelling it does not reach the thread, and it costs half as much as
    # the executor's, chained to one of the loop's and shielded.
    result: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()
    released = partial(context.run, _run_and_release, call)
    try:
        _threads().submit(_run_and_tell, released, loop, result)
    except RuntimeError as error:
        raise InterfaceError("this process is about to end") from error
    return await result


def _act(mode: Mode, call: Callable[[], T]) -> T:
    named = behalf()
    if isinstance(named, str):
        with tenant(named, mode):
            return call()
    if mode:
        raise ValueError("a snapshot is of one scope")
    return call()


async def close_units() -> None:
    """Let running units end, then end the threads and the connection pools."""
    if _threads.cache_info().currsize:
        await asyncio.to_thread(_threads().shutdown)
        _threads.cache_clear()
    close_pools()


def close_pools() -> None:
    """End the connection pools of this process; the next query makes new ones."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        cast("Any", connection).close_pool()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.DB_POOL_SIZE, thread_name_prefix="rows")


def _run_and_tell(
    call: Callable[[], T], loop: asyncio.AbstractEventLoop, result: asyncio.Future[T]
) -> None:
    value: T | None = None
    problem: BaseException | None = None
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001 - it is raised where the unit is awaited
        problem = error
    with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
        loop.call_soon_threadsafe(_settle, result, value, problem)


def _settle(result: asyncio.Future[Any], value: Any, problem: BaseException | None) -> None:
    if result.done():  # cancelled
        return
    if problem is not None:
        result.set_exception(problem)
    else:
        result.set_result(value)


def _run_and_release(call: Callable[[], T]) -> T:
    try:
        return call()
    except (OperationalError, InterfaceError):
        _drop_dead_connections()
        raise
    finally:
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()


def _drop_dead_connections() -> None:
    """Look at what else is in the pools: one dead connection is seldom alone.

    Otherwise each of them would fail one unit more, long after the database is back.
    """
    for connection in connections.all(initialized_only=True):
        pool = getattr(connection, "pool", None)
        if pool is not None:
            pool.check()
