"""Gates: tools connect to them and wait, so that a test decides when a call ends and how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BOUND = 45.0
"""Seconds that anything may take to come, on a machine that is busy with other things."""


class Gate:
    """One call that waits."""

    def __init__(
        self, call: str, note: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.call, self.note = call, note
        self._reader, self._writer = reader, writer

    def open(self, result: str = "through") -> None:
        """Let the call end with this result."""
        self._writer.write(result.encode() + b"\n")

    def close(self) -> None:
        """Let the call fail."""
        self._writer.close()

    async def left(self) -> None:
        """Return once the call has gone away: cancelled, or its process killed."""
        async with asyncio.timeout(BOUND):
            try:
                await self._reader.read()
            except ConnectionError:
                return


class Gates:
    """All calls of a test's tools: `notes` is each that came, in order, repeated ones too."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.auto: str | None = None
        """What every call is answered at once, when set."""
        self.port = 0
        self._came: asyncio.Queue[Gate] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A tool has connected."""
        self._writers.append(writer)
        told = json.loads(await reader.readline())
        gate = Gate(told["call"], told["note"], reader, writer)
        self.notes.append(gate.note)
        if self.auto is not None:
            gate.open(self.auto)
        else:
            self._came.put_nowait(gate)

    async def next(self) -> Gate:
        """The next call that waits."""
        async with asyncio.timeout(BOUND):
            return await self._came.get()

    async def shut(self) -> None:
        """Drop all calls."""
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def open_gates() -> AsyncIterator[Gates]:
    """Gates on a free port."""
    gates = Gates()
    server = await asyncio.start_server(gates.take, "127.0.0.1", 0)
    gates.port = server.sockets[0].getsockname()[1]
    try:
        yield gates
    finally:
        server.close()
        await gates.shut()
