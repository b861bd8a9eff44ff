"""Readers of `/api/events` for tests: every read is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.wire_client import BOUND, Client, Frame, cut_frames


@dataclass
class Listening:
    """One open stream of the bus; `frames` is all that has come."""

    response: aiohttp.ClientResponse
    frames: list[Frame] = field(default_factory=list)
    keepalives: int = 0
    rest: bytes = b""

    async def until(self, holds: Callable[[Listening], bool]) -> Listening:
        """Read until something holds."""
        async with asyncio.timeout(BOUND):
            while not holds(self):
                data = await self.response.content.readany()
                assert data, f"ended with {self.names}"
                frames, comments, self.rest = cut_frames(self.rest + data)
                self.frames += frames
                self.keepalives += comments
        return self

    async def event(self, name: str, count: int = 1) -> dict[str, Any]:
        """Read until so many events of a name have come; the data of the last."""
        await self.until(lambda seen: seen.names.count(name) >= count)
        return [frame.data for frame in self.frames if frame.event == name][count - 1]

    @property
    def names(self) -> list[str]:
        return [frame.event for frame in self.frames]

    @property
    def told(self) -> list[tuple[int | None, str]]:
        """Numbers and names, what opens a stream left out."""
        return [(f.id, f.event) for f in self.frames if not f.event.startswith("stream-")]


@asynccontextmanager
async def listen(
    client: Client,
    scope: str | None = "",
    after: int | None = None,
    bearer: str | None = None,
    **query: str,
) -> AsyncIterator[Listening]:
    """Follow the bus in a scope, from now on or from a number."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    headers |= {} if bearer is None else {"Authorization": bearer}
    named = {} if scope is None else {"scope_id": scope}
    async with asyncio.timeout(BOUND):
        response = await client.http.get(
            f"{client.url}/api/events", params={**named, **query}, headers=headers
        )
    try:
        assert response.status == 200, await response.read()
        assert response.headers["content-type"] == "text/event-stream"
        seen = Listening(response)
        await seen.until(lambda seen: bool(seen.frames))
        yield seen
    finally:
        response.close()
