"""One connection to one MCP server, owned by one task.

Law: the owner enters the connection, serves requests from a queue and leaves it, all in the same
task, as the SDK's scopes demand. Whatever happens, every request gets an answer, and when the
owner has ended there is no task, no process and no socket left.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import mcp_types as types
from mcp import Client

from agentsite.mcp_client.endpoint import Endpoint, Key
from agentsite.mcp_client.errors import Lost, NotSent, Unavailable, cut, lost
from agentsite.mcp_client.explain import classify, explain
from agentsite.mcp_client.listing import Listing, read_listing
from agentsite.mcp_client.process import run_server
from agentsite.mcp_client.web import MakeTransport, reach_server

logger = logging.getLogger(__name__)
T = TypeVar("T")

AT_ONCE = 16
"""Requests of one connection that are under way together."""
MOST_WAITING = 64
OPEN_SECONDS = 25.0
"""For start, handshake and listing; the SDK alone gives an older server 10 s to refuse."""
CLOSE_SECONDS = 8.0
STALE_SECONDS = 300.0
"""After so long a listing is looked at again, beside the call that needs it."""
TELLING = (401, 403, 429)
"""Answers that say why nothing works; others belong to finding out what a server speaks."""
Note = Callable[[Key, Endpoint, Listing], Awaitable[None]]
"""Takes down what a server lists, before anything of it is used."""


class _Job:
    """One request: what to do with the client, and whoever waits for it."""

    def __init__(self, work: Callable[[Client], Awaitable[Any]]) -> None:
        self.work = work
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.scope = anyio.CancelScope()
        self.began = math.inf

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Connection:
    """Opens when it is made; closes when it was idle, is stopped, or its server has gone."""

    def __init__(
        self,
        key: Key,
        endpoint: Endpoint,
        make_transport: MakeTransport,
        note: Note,
        *,
        idle_s: float,
        open_s: float = OPEN_SECONDS,
    ) -> None:
        self.key, self.endpoint = key, endpoint
        self._make_transport, self._note = make_transport, note
        self._idle_s, self._open_s = idle_s, open_s
        self._queue: asyncio.Queue[_Job | None] = asyncio.Queue()
        self._jobs: set[_Job] = set()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listing: Listing | None = None
        self._listed_at = 0.0
        self._changes = self._covered = 0
        """Changes of the list that the server told of, and how many of them were listed since."""
        self._listing_now = asyncio.Lock()
        self._leaving = False
        self._heard_at = 0.0
        self._said: list[str] = []
        self._status = 0
        self.used_at = time.monotonic()
        self.problem: str | None = None
        """Why it could not be opened."""
        self._scope = anyio.CancelScope()
        # A context of its own: it outlives whoever asked for it first.
        self.task = asyncio.create_task(
            self._own(), name=f"mcp {endpoint.name}", context=contextvars.Context()
        )

    @property
    def usable(self) -> bool:
        """Whether it takes requests, or will when it is open."""
        return not self._leaving and not self.task.done()

    @property
    def idle(self) -> bool:
        return self._ready.done() and not self._jobs

    async def opened(self) -> None:
        """Wait until it takes requests. Raises `Unavailable`."""
        await asyncio.shield(self._ready)

    async def listing(self) -> Listing:
        """What the server offers, as far as it has told of changes."""
        await self.opened()
        if self._listing is None or self._covered < self._changes:
            return await self.request(self._list)
        elif time.monotonic() - self._listed_at > STALE_SECONDS:
            self._listed_at = time.monotonic()
            self._list_beside()
        return self._listing

    async def request(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do something with the client and return its result; cancelling really cancels it.

        Raises `McpError`.
        """
        await self.opened()
        job = _Job(work)
        self._enqueue(job)
        try:
            found: T = await job.done
        except asyncio.CancelledError:
            job.scope.cancel()
            if self._heard_at < job.began < math.inf:
                self._leave()  # not a sign of life meanwhile: the next call gets a new connection
            raise
        return found

    def _enqueue(self, job: _Job) -> None:
        if not self.usable:
            raise NotSent(f"The connection to the MCP server {self.endpoint.name} is closing.")
        if len(self._jobs) >= MOST_WAITING:
            raise Unavailable(
                f"Too many calls wait for the MCP server {self.endpoint.name}; try again later."
            )
        self._jobs.add(job)
        self._queue.put_nowait(job)

    async def stop(self) -> None:
        """Close it; what is under way is broken off. Returns when nothing of it is left."""
        self._leave()
        for job in tuple(self._jobs):
            job.scope.cancel()
        if not self._ready.done():
            self._scope.cancel()
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + CLOSE_SECONDS)
        await asyncio.wait({self.task})

    def _leave(self) -> None:
        self._leaving = True
        self._queue.put_nowait(None)

    # ---- the owner ----------------------------------------------------------------------

    async def _own(self) -> None:
        problem: BaseException | None = None
        try:
            with self._scope:
                self._scope.deadline = anyio.current_time() + self._open_s
                async with self._open() as client:
                    await self._list(client)
                    self._scope.deadline = math.inf
                    self._ready.set_result(None)
                    await self._serve(client)
            if self._scope.cancelled_caught:
                problem = TimeoutError()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - told to all who wait
            problem = error
        finally:
            self._leaving = True
            self._settle(problem)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Client]:
        if self.endpoint.transport == "stdio":
            transport: Any = run_server(self.endpoint, self._hear, self._leave)
        else:
            transport = reach_server(self.endpoint, self._make_transport, self._note_status)
        client = Client(
            _watch(transport, self._sign_of_life, self._leave),
            message_handler=self._take_message,
            client_info=types.Implementation(name="agentsite", version="1"),
            cache=None,
        )
        async with client:
            yield client

    async def _serve(self, client: Client) -> None:
        async with anyio.create_task_group() as tasks:
            while not self._leaving:
                job, woken = None, False
                with anyio.move_on_after(self._idle_s):
                    job = await self._queue.get()
                    woken = True
                if job is not None:
                    tasks.start_soon(self._perform, client, job)
                elif not woken and not self._jobs:
                    self._leaving = True
            # What is under way ends by itself, or by `stop`; its callers have their own time.
            while not self._queue.empty():
                if (job := self._queue.get_nowait()) is not None:
                    self._refuse(job)

    async def _perform(self, client: Client, job: _Job) -> None:
        self.used_at = time.monotonic()
        try:
            with job.scope:
                async with self._room:
                    job.began = time.monotonic()
                    value = await job.work(client)
                    if not job.done.done():
                        job.done.set_result(value)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            failure = classify(error, self.endpoint.name)
            if isinstance(failure, Lost | NotSent):
                self._leave()
            job.fail(failure)
        finally:
            if job.began == math.inf:
                self._refuse(job)
            job.fail(Lost(lost(self.endpoint.name)))
            self._jobs.discard(job)
            self.used_at = time.monotonic()

    def _settle(self, problem: BaseException | None) -> None:
        """Tell all who wait that it is over."""
        name = self.endpoint.name
        reason = (
            "it was closed"
            if problem is None
            else explain(problem, self.endpoint.command, self._open_s)
        )
        if problem is not None and (self._status in TELLING or self._status >= 500):
            reason = f"{reason} (HTTP {self._status})"
        if self._said and problem is not None:
            reason = f"{reason}; it wrote: {cut(' / '.join(self._said))}"
        reason = self.endpoint.hide(reason)
        if not self._ready.done():
            text = f"The MCP server {name} is down: {reason}."
            self.problem = None if problem is None else text
            self._ready.set_exception(Unavailable(text))
            self._ready.exception()  # it is told of, whether or not somebody waits
        elif problem is not None:
            logger.warning("The connection to the MCP server %s ended: %s", name, reason)
        for job in tuple(self._jobs):
            self._refuse(job)

    def _refuse(self, job: _Job) -> None:
        job.fail(NotSent(f"The connection to the MCP server {self.endpoint.name} has ended."))
        self._jobs.discard(job)

    # ---- what the server does by itself ---------------------------------------------------

    async def _list(self, client: Client) -> Listing:
        async with self._listing_now:
            changes = self._changes
            listing = await read_listing(client)
            await self._note(self.key, self.endpoint, listing)
            self._listing, self._listed_at, self._covered = listing, time.monotonic(), changes
            return listing

    async def _take_message(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changes += 1
            self._list_beside()

    def _list_beside(self) -> None:
        """List again while other things go on; the next call that needs it would do it too."""
        if self._ready.done() and self.usable and len(self._jobs) < MOST_WAITING:
            job = _Job(self._list)
            job.done.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._enqueue(job)

    def _sign_of_life(self) -> None:
        self._heard_at = time.monotonic()

    def _hear(self, line: str) -> None:
        line = self.endpoint.hide(line)[:300]
        self._said = [*self._said[-2:], line]
        logger.debug("MCP server %s: %s", self.endpoint.name, line)

    def _note_status(self, status: int) -> None:
        self._status = status


@asynccontextmanager
async def _watch(
    transport: Any, alive: Callable[[], None], over: Callable[[], None]
) -> AsyncIterator[tuple[Any, Any]]:
    """The transport, telling of each message that comes in and of the end."""
    async with transport as (received, sent):
        yield _Watched(received, alive, over), sent


class _Watched:
    """A stream of what comes in."""

    def __init__(self, inner: Any, alive: Callable[[], None], over: Callable[[], None]) -> None:
        self._inner, self._alive, self._over = inner, alive, over

    @property
    def last_context(self) -> contextvars.Context | None:
        """The context of whoever sent the last message, as the SDK asks for it."""
        found: contextvars.Context | None = getattr(self._inner, "last_context", None)
        return found

    async def receive(self) -> Any:
        try:
            item = await self._inner.receive()
        except anyio.EndOfStream:
            self._over()
            raise
        self._alive()
        return item

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> _Watched:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)
