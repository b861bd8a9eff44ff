"""What all calls of a process share: places to run in, and how often they may begin.

Law: queues are bounded and in order; whoever would wait longer than it may is told so at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentsite.tools.results import ToolError

if TYPE_CHECKING:
    from agentsite.tools.base import Tool

logger = logging.getLogger(__name__)

HOST_AT_ONCE = 16
"""Calls of one process to one host."""
KEPT_WINDOWS = 2_000
BUSY = "The server has too much to do at the moment; try again later."


class Window:
    """At most `calls` beginnings within any `seconds`."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._begun: deque[float] = deque(maxlen=calls)

    def reserve(self, patience: float) -> float:
        """Take the next beginning; seconds until it. Raises ToolError when that is too long."""
        now = time.monotonic()
        begin = now
        if len(self._begun) == self._calls:
            begin = max(now, self._begun[0] + self._seconds)
        if begin - now > patience:
            raise ToolError(
                f"The limit of {self._calls} calls in {self._seconds:g} s is reached; "
                f"try again in {begin - now:.0f} s."
            )
        self._begun.append(begin)
        return begin - now

    @property
    def idle(self) -> bool:
        return not self._begun or self._begun[-1] + self._seconds < time.monotonic()


class Pool:
    """At most `at_once` calls at a time and `queue` that wait, in order."""

    def __init__(self, at_once: int, queue: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._queue = queue
        self.waiting = 0
        self.running = 0

    @asynccontextmanager
    async def slot(self, patience: float) -> AsyncIterator[None]:
        """A place to run in. Raises ToolError when none comes free in time."""
        if self.waiting >= self._queue:
            raise ToolError(BUSY, transient=True)
        self.waiting += 1
        try:
            async with asyncio.timeout(patience):
                await self._slots.acquire()
        except TimeoutError:
            raise ToolError(BUSY, transient=True) from None
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running


class Limits:
    """The pools and windows of one process, used from its event loop alone."""

    def __init__(self, at_once: int = 200, queue: int = 2_000, sandboxes: int = 8) -> None:
        self._pools = {"tools": Pool(at_once, queue), "sandbox": Pool(sandboxes, queue)}
        self._hosts: dict[str, Pool] = {}
        self._windows: dict[tuple[str, ...], Window] = {}
        self._queue = queue
        self._late: set[asyncio.Task[None]] = set()

    def keep(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Let something go on that waits for a call which outlives its run."""
        task = asyncio.create_task(waiting, name="late call")
        self._late.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("The result of a late call is lost", exc_info=error)

    def count_running(self, pool: str = "tools") -> int:
        """Calls that have a place in this pool."""
        return self._pools[pool].running

    async def pace(
        self, agent: str, tool: Tool, arguments: Mapping[str, Any], patience: float
    ) -> None:
        """Wait until this call may begin, for its tool and for its host.

        Raises ToolError when that is further away than `patience` seconds.
        """
        wait = 0.0
        if tool.rate is not None:
            wait = self._window(("tool", agent, tool.name), *tool.rate).reserve(patience)
        host = tool.host and tool.host(arguments)
        rate = tool.host_rate and tool.host_rate(arguments)
        if host and rate:
            wait = max(wait, self._reserve(agent, host, rate, patience))
        if wait:
            await asyncio.sleep(wait)

    def _reserve(self, agent: str, host: str, rate: tuple[int, float], patience: float) -> float:
        """Seconds until an agent's next call to a host may begin, which is then taken."""
        return self._window(("host", agent, host, str(rate)), *rate).reserve(patience)

    @asynccontextmanager
    async def reach(
        self, agent: str, host: str, rate: tuple[int, float] | None, patience: float
    ) -> AsyncIterator[None]:
        """Begin a call to a host from within a tool that did not say so, and keep a place for it.

        Raises ToolError when that may not be within `patience` seconds.
        """
        if rate and (wait := self._reserve(agent, host, rate, patience)):
            await asyncio.sleep(wait)
        async with self._host(host).slot(patience):
            yield

    @asynccontextmanager
    async def place(
        self, tool: Tool, arguments: Mapping[str, Any], patience: float
    ) -> AsyncIterator[None]:
        """A place in the tool's pool and among the calls to its host."""
        async with AsyncExitStack() as stack:
            host = tool.host and tool.host(arguments)
            if host:
                await stack.enter_async_context(self._host(host).slot(patience))
            if tool.pool is not None:
                await stack.enter_async_context(self._pools[tool.pool].slot(patience))
            yield

    def sandbox(self, patience: float) -> AbstractAsyncContextManager[None]:
        """A place for one more sandboxed program, of a call that has its own elsewhere."""
        return self._pools["sandbox"].slot(patience)

    def _window(self, key: tuple[str, ...], calls: int, seconds: float) -> Window:
        if len(self._windows) > KEPT_WINDOWS:
            self._windows = {k: w for k, w in self._windows.items() if not w.idle}
        if key not in self._windows:
            self._windows[key] = Window(calls, seconds)
        return self._windows[key]

    def _host(self, host: str) -> Pool:
        if len(self._hosts) > KEPT_WINDOWS:
            self._hosts = {name: pool for name, pool in self._hosts.items() if not pool.idle}
        if host not in self._hosts:
            self._hosts[host] = Pool(HOST_AT_ONCE, self._queue)
        return self._hosts[host]
