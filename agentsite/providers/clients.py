"""SDK clients: one per process, event loop, address and key; bounded, and closed in the end.

A client costs 20 to 30 ms (its TLS context) and holds the connections that make the next
call cheap, so calls share it. It is made on a thread, or streams would stand still meanwhile.
One in use is never closed; keys are remembered as digests.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

MOST_CLIENTS = 32

Made = tuple[Any, Callable[[], Awaitable[object]]]
"""A client, and the function that closes it."""
Build = Callable[[], Awaitable[Made]]
"""Makes one."""


class _Entry:
    __slots__ = ("_making", "client", "close", "loop", "users")

    def __init__(self) -> None:
        self.client: Any = None
        self.close: Callable[[], Awaitable[object]] | None = None
        self.loop = asyncio.get_running_loop()
        self.users = 0
        self._making = asyncio.Lock()

    async def make(self, build: Build) -> Any:
        """The client, made by the first that needs it."""
        if self.close is None:
            async with self._making:
                if self.close is None:
                    self.client, self.close = await build()
        return self.client

    async def end(self) -> None:
        async with self._making:
            if self.close is not None:
                await self.close()


_entries: OrderedDict[tuple[int, str], _Entry] = OrderedDict()


def digest(*parts: str | None) -> str:
    """Return a name for a combination of strings that does not give them away."""
    return sha256("\0".join(part or "" for part in parts).encode()).hexdigest()[:32]


async def load(*modules: str) -> None:
    """Import SDK modules off the event loop: anthropic alone takes the better part of a second."""
    for name in modules:
        if name not in sys.modules:
            await asyncio.to_thread(importlib.import_module, name)


@asynccontextmanager
async def lease(name: str, build: Build, modules: Sequence[str] = ()) -> AsyncIterator[Any]:
    """Lend the client called `name` (see `digest`) on this loop, built on first use.

    `modules` are what it needs of SDKs; they are imported before.
    """
    await load(*modules)
    key = (id(asyncio.get_running_loop()), name)
    entry = _entries.get(key)
    if entry is None or entry.loop.is_closed():
        entry = _entries[key] = _Entry()
    _entries.move_to_end(key)
    entry.users += 1
    try:
        await _trim()
        yield await entry.make(build)
    finally:
        entry.users -= 1


async def close_clients() -> None:
    """Close the clients of this event loop; to be called before the loop ends."""
    here = asyncio.get_running_loop()
    for key, entry in list(_entries.items()):
        if entry.loop is here:
            _entries.pop(key, None)
            await entry.end()
        elif entry.loop.is_closed():
            _entries.pop(key, None)


async def _trim() -> None:
    """Drop clients of dead loops and, above the bound, the idle one unused for longest."""
    if len(_entries) <= MOST_CLIENTS:
        return
    here = asyncio.get_running_loop()
    for key, entry in list(_entries.items()):
        if entry.loop.is_closed():
            _entries.pop(key, None)
        elif entry.loop is here and entry.users == 0 and len(_entries) > MOST_CLIENTS:
            _entries.pop(key, None)
            await entry.end()
