"""What this process knows of its callers for a few seconds: keys, scopes, tokens.

Law: a key or scope is read at most once in `AUTH_CACHE_SECONDS`, so a revocation or a block
takes effect within that time. What was seen is written in the background, never before an answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from django.conf import settings
from django.db import DatabaseError

from agentsite.host.tokens import Tokens
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from sessions_app import api_keys, scopes
from sessions_app.api_keys import KeyFacts, fingerprint
from sessions_app.scopes import ScopeFacts

logger = logging.getLogger(__name__)

K = TypeVar("K")
T = TypeVar("T")

REMEMBERED = 10_000
WRITE_AFTER = 0.25
"""Seconds that sightings are gathered for one statement."""
SIGHTING_SECONDS = 60.0


def remember(known: OrderedDict[K, T], key: K, value: T) -> None:
    """Keep a value, of all of them those that were kept last."""
    known[key] = value
    known.move_to_end(key)
    while len(known) > REMEMBERED:
        known.popitem(last=False)


class Recent(Generic[T]):
    """Values that were read a moment ago, and those that are just being read."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._values: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._reading: dict[str, asyncio.Task[T]] = {}

    async def get(self, key: str, read: Callable[[], Awaitable[T]]) -> T:
        """The value, read anew when it is too old; who asks meanwhile waits for the same."""
        found = self.peek(key)
        if found is not None:
            return found[0]
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.ensure_future(self._read(key, read))
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(task)

    async def _read(self, key: str, read: Callable[[], Awaitable[T]]) -> T:
        began = time.monotonic()
        value = await read()
        self.put(key, value, began)
        return value

    def peek(self, key: str) -> tuple[T] | None:
        """The value alone in a tuple, if it is fresh enough."""
        found = self._values.get(key)
        fresh = found is not None and time.monotonic() - found[0] < self._seconds
        return (found[1],) if found is not None and fresh else None

    def forget(self, key: str) -> None:
        """Read it anew the next time."""
        self._values.pop(key, None)

    def put(self, key: str, value: T, read_at: float) -> None:
        """Remember what was read."""
        remember(self._values, key, (read_at, value))


class Bucket:
    """What is left of a key's rate in this process."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.left = 0


class Callers:
    """Of this process."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self._keys: Recent[KeyFacts | None] = Recent(settings.AUTH_CACHE_SECONDS)
        self._scopes: Recent[Mapping[str, ScopeFacts]] = Recent(settings.AUTH_CACHE_SECONDS)
        self._buckets: OrderedDict[int, Bucket] = OrderedDict()
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._used: OrderedDict[int, float] = OrderedDict()
        self._new_scopes: set[tuple[str, str]] = set()
        self._new_uses: set[int] = set()
        self._writing: asyncio.Task[None] | None = None

    async def find_key(self, text: str) -> KeyFacts | None:
        """What a key may do, or None for one that nobody may use."""
        key_hash = fingerprint(text)
        key = await self._keys.get(key_hash, lambda: unit(api_keys.find_key, key_hash))
        if key is None or (key.ends_at is not None and key.ends_at.timestamp() <= time.time()):
            return None
        if time.monotonic() - self._used.get(key.id, -math.inf) > SIGHTING_SECONDS:
            remember(self._used, key.id, time.monotonic())
            self._new_uses.add(key.id)
            self._write_soon()
        return key

    async def spend(self, key: KeyFacts) -> int | None:
        """Take one request of a key's rate; else whole seconds until there is one.

        The bucket is the key's row. A process takes a second's worth at once, so that a busy
        key costs one update a second and process, and a slow one an update a request.
        """
        if key.rate_limit is None:
            return None
        bucket = self._buckets.get(key.id) or Bucket()
        remember(self._buckets, key.id, bucket)
        async with bucket.lock:
            if bucket.left <= 0:
                wanted = max(1, key.rate_limit // 60)
                given, wait = await unit(api_keys.take_tokens, key.id, wanted)
                if given <= 0:
                    return max(1, math.ceil(wait))
                bucket.left = given
            bucket.left -= 1
        return None

    async def find_scope(self, scope_id: str) -> Mapping[str, ScopeFacts]:
        """What is known of a scope, by agent."""
        return await self._scopes.get(scope_id, lambda: unit(scopes.read_facts, scope_id))

    def known_scope(self, scope_id: str) -> Mapping[str, ScopeFacts] | None:
        """The same, if it was read a moment ago."""
        found = self._scopes.peek(scope_id)
        return None if found is None else found[0]

    def learn(self, scope_id: str, facts: Mapping[str, ScopeFacts], read_at: float) -> None:
        """Remember what somebody else has just read."""
        if self._scopes.peek(scope_id) is None:
            self._scopes.put(scope_id, facts, read_at)

    def forget_scope(self, scope_id: str) -> None:
        """It was changed here: read it anew."""
        self._scopes.forget(scope_id)

    def saw(self, agent: str, scope_id: str) -> None:
        """A scope was used: its row appears, or says so, a moment later."""
        pair, now = (agent, scope_id), time.monotonic()
        if now - self._seen.get(pair, -math.inf) < SIGHTING_SECONDS:
            return
        remember(self._seen, pair, now)
        self._new_scopes.add(pair)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="callers seen")

    async def _write(self) -> None:
        while self._new_scopes or self._new_uses:
            await asyncio.sleep(WRITE_AFTER)
            await self._flush()

    async def _flush(self) -> None:
        pairs, self._new_scopes = self._new_scopes, set()
        uses, self._new_uses = self._new_uses, set()
        try:
            with acting_for_all("who was seen, of every scope"):
                if pairs:
                    await unit(scopes.note_scopes, pairs)
                if uses:
                    await unit(api_keys.note_use, uses)
        except DatabaseError as error:  # seen again when they come again
            logger.warning("who was seen could not be written down: %s", error)
            for pair in pairs:
                self._seen.pop(pair, None)
            for key_id in uses:
                self._used.pop(key_id, None)

    async def close(self) -> None:
        """Write what was not yet written."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        await self._flush()
        await self.tokens.close()
