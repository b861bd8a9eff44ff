"""The connections of one process to MCP servers: opened when needed, few, closed when idle.

Law: one connection per scope and server, so no scope meets what another has left in a session.
A server that fails is left alone for a while, and nobody waits for it or because of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from mcp import Client

from agentsite.mcp_client.connection import OPEN_SECONDS, Connection, Note
from agentsite.mcp_client.endpoint import Endpoint, Key
from agentsite.mcp_client.errors import NotSent, Unavailable
from agentsite.mcp_client.listing import Listing
from agentsite.mcp_client.web import MakeTransport

T = TypeVar("T")
Place = tuple[Key, Endpoint]

IDLE_SECONDS = 300.0
MOST_OPEN = 500
MOST_PROCESSES = 48
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a server that failed is tried again: doubled each time, with some chance."""
KEPT_FAILURES = 2_000
CLOSING_AT_ONCE = 32
"""More of them would keep each other from telling their servers in time."""
TRIES = 2


class Failure(msgspec.Struct, frozen=True):
    """How often in a row a server could not be reached, and when it is tried again."""

    count: int
    until: float
    reason: str


class Pool:
    """To be used from one event loop, and closed before it ends."""

    def __init__(
        self,
        make_transport: MakeTransport,
        note: Note,
        *,
        idle_s: float = IDLE_SECONDS,
        open_s: float = OPEN_SECONDS,
        most: int = MOST_OPEN,
        most_processes: int = MOST_PROCESSES,
        first_pause_s: float = FIRST_PAUSE,
    ) -> None:
        self._make_transport, self._note = make_transport, note
        self._idle_s, self._open_s = idle_s, open_s
        self._most, self._most_processes = most, most_processes
        self._first_pause_s = first_pause_s
        self._open: dict[Place, Connection] = {}
        self._all: set[Connection] = set()
        """Those too that take no more requests and are not quite closed."""
        self._failures: OrderedDict[Place, Failure] = OrderedDict()
        self._closed = False

    def __len__(self) -> int:
        """Connections that are open, opening or closing."""
        return len(self._all)

    def find_failure(self, key: Key, endpoint: Endpoint) -> str | None:
        """Why this server is left alone at the moment; None if it is not."""
        failure = self._failures.get((key, endpoint))
        if failure is None or failure.until <= time.monotonic():
            return None
        return failure.reason

    async def listing(self, key: Key, endpoint: Endpoint) -> Listing:
        """What the server offers; the connection is opened for it. Raises `McpError`."""
        return await self._try(key, endpoint, Connection.listing)

    async def request(
        self, key: Key, endpoint: Endpoint, work: Callable[[Client], Awaitable[T]]
    ) -> T:
        """Do something with a client of the server. Raises `McpError`.

        What did not reach the server is tried again on another connection; what may have
        reached it never is.
        """
        return await self._try(key, endpoint, lambda connection: connection.request(work))

    async def _try(
        self, key: Key, endpoint: Endpoint, ask: Callable[[Connection], Awaitable[T]]
    ) -> T:
        for _ in range(TRIES - 1):
            try:
                return await ask(await self._connect(key, endpoint))
            except NotSent:
                continue
        return await ask(await self._connect(key, endpoint))

    async def _connect(self, key: Key, endpoint: Endpoint) -> Connection:
        """The connection, open. Raises `Unavailable`."""
        place = (key, endpoint)
        while (connection := self._open.get(place)) is None or not connection.usable:
            if self._closed:
                raise Unavailable("The server is about to stop.")
            if (busy := self._find_surplus(endpoint)) is not None:
                await busy.stop()
            elif (reason := self.find_failure(key, endpoint)) is not None:
                raise Unavailable(reason)
            else:
                self._start(place)
        await connection.opened()
        return connection

    def _start(self, place: Place) -> None:
        connection = self._open[place] = Connection(
            *place,
            self._make_transport,
            self._note,
            idle_s=self._idle_s,
            open_s=self._open_s,
        )
        self._all.add(connection)
        connection.task.add_done_callback(lambda _: self._forget(place, connection))

    def _forget(self, place: Place, connection: Connection) -> None:
        self._all.discard(connection)
        if self._open.get(place) is connection:
            del self._open[place]
        if connection.problem is None:
            self._failures.pop(place, None)
            return
        known = self._failures.pop(place, None)
        count = 1 if known is None else known.count + 1
        pause = min(LONGEST_PAUSE, self._first_pause_s * 2 ** min(count - 1, 16))
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - it spreads, it hides nothing
        self._failures[place] = Failure(count, time.monotonic() + pause, connection.problem)
        while len(self._failures) > KEPT_FAILURES:
            self._failures.popitem(last=False)

    def _find_surplus(self, endpoint: Endpoint) -> Connection | None:
        """What must be closed before another is opened; None when there is room.

        Raises `Unavailable` when all that could be closed is at work.
        """
        everything = self._all
        process = endpoint.transport == "stdio"
        alike = {each for each in everything if each.endpoint.transport == "stdio"}
        if process and len(alike) >= self._most_processes:
            candidates = alike
        elif len(everything) >= self._most:
            candidates = everything
        else:
            return None
        idle = [each for each in candidates if each.idle]
        if not idle:
            raise Unavailable("Too many MCP servers are in use at the moment; try again later.")
        return min(idle, key=lambda each: each.used_at)

    async def close(self) -> None:
        """Close all connections and wait until nothing of them is left."""
        self._closed = True
        turn = asyncio.Semaphore(CLOSING_AT_ONCE)

        async def stop(connection: Connection) -> None:
            async with turn:
                await connection.stop()

        idle_first = sorted(self._all, key=lambda connection: not connection.idle)
        await asyncio.gather(*map(stop, idle_first))
