"""SDK clients: one per process, event loop, address and key; bounded, and closed in the end.

A client costs 20 to 30 ms (its TLS context) and holds the connections that make the next
call cheap, so calls share it. One in use is never closed; keys are remembered as digests.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

MOST_CLIENTS = 32


class _Entry:
    __slots__ = ("client", "close", "loop", "users")

    def __init__(self, client: Any, close: Callable[[], Awaitable[object]]) -> None:
        self.client = client
        self.close = close
        self.loop = asyncio.get_running_loop()
        self.users = 0


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
async def lease(
    name: str, build: Callable[[], tuple[Any, Callable[[], Awaitable[object]]]]
) -> AsyncIterator[Any]:
    """Lend the client called `name` (see `digest`) on this loop, built on first use.

    `build` returns the client and the function that closes it.
    """
    key = (id(asyncio.get_running_loop()), name)
    entry = _entries.get(key)
    if entry is None or entry.loop.is_closed():
        entry = _entries[key] = _Entry(*build())
    _entries.move_to_end(key)
    entry.users += 1
    try:
        await _trim()
        yield entry.client
    finally:
        entry.users -= 1


async def close_clients() -> None:
    """Close the clients of this event loop; to be called before the loop ends."""
    here = asyncio.get_running_loop()
    for key, entry in list(_entries.items()):
        if entry.loop is here:
            _entries.pop(key, None)
            await entry.close()
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
            await entry.close()
