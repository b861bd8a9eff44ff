"""The counting server: where the tools' effects take place, out of reach of every kill."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Self

import msgspec


class Hit(msgspec.Struct):
    """One effect, as a tool sent it."""

    key: str
    """The call's id."""
    n: str
    """Names the planned call: unique over the whole storm."""
    tool: str
    pid: int
    at: float = 0.0
    """Seconds since the epoch."""


class CountingServer:
    """Counts by key; answers with the count. Inside the process that judges."""

    def __init__(self) -> None:
        self.by_key: dict[str, list[Hit]] = defaultdict(list)
        self.by_name: dict[str, list[Hit]] = defaultdict(list)
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._count, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            hit = msgspec.json.decode(await reader.readexactly(size), type=Hit)
        except (asyncio.IncompleteReadError, ConnectionError):  # its process died while it asked
            writer.close()
            return
        hit.at = time.time()
        self.by_key[hit.key].append(hit)
        self.by_name[hit.n].append(hit)
        body = b"%d" % len(self.by_key[hit.key])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body))
        writer.write(b"Connection: close\r\n\r\n" + body)
        writer.close()
