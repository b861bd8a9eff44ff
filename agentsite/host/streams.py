"""Following a session: the log from a number on, then live, without gap or double.

Law: the log is the truth, the hub only a short way to its newest part. A stream
holds no database connection while it waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from agentsite.engine.events import Done, Entry
from agentsite.host.hub import Frame, Hub
from agentsite.host.wire import KEEPALIVE, encode_entry
from agentsite.rows.units import unit
from sessions_app import log

JOINED_BYTES = 8192
CATCH_UP_SECONDS = 0.02


class Follower:
    """One reader's place in one session's log."""

    def __init__(
        self, hub: Hub, session_id: str, after: int, *, run_id: str | None, keepalive: float
    ) -> None:
        self._hub = hub
        self.session_id = session_id
        self._seq = after
        self._gap = False
        self._run_id = run_id
        """End after this run's `done`; None follows for ever."""
        self._keepalive = keepalive
        self._ended = False
        self._subscriber = hub.subscribe(session_id)

    def close(self) -> None:
        """Safe before the first frame, and more than once."""
        self._hub.unsubscribe(self._subscriber)

    async def frames(self, *, replay: bool) -> AsyncIterator[bytes]:
        """Whole frames, some joined; keepalive comments in between.

        `replay` reads the log first; without it the reader knows that nothing
        was logged before it subscribed.
        """
        try:
            if replay:
                async for data in self._read_log():
                    yield data
            last_sent = time.monotonic()
            while not self._ended:
                waiting = await self._subscriber.wait()
                sent = False
                for data in self._join(waiting):
                    sent = True
                    yield data
                if self._subscriber.behind or self._gap:
                    async for data in self._catch_up():
                        sent = True
                        yield data
                now = time.monotonic()
                if sent:
                    last_sent = now
                elif now - last_sent >= self._keepalive:
                    last_sent = now
                    yield KEEPALIVE
        finally:
            self.close()

    def _join(self, frames: list[Frame]) -> list[bytes]:
        """Frames that go on where the reader is, joined into few writes."""
        joined: list[bytes] = []
        parts: list[bytes] = []
        size = 0
        for frame in frames:
            if frame.seq <= self._seq or self._ended:
                continue
            if frame.previous > self._seq:
                self._gap = True
                break
            if size + len(frame.data) > JOINED_BYTES and parts:
                joined.append(b"".join(parts))
                parts, size = [], 0
            parts.append(frame.data)
            size += len(frame.data)
            self._pass(frame.seq, frame.event)
        if parts:
            joined.append(b"".join(parts))
        return joined

    async def _catch_up(self) -> AsyncIterator[bytes]:
        # From here on frames queue up again; those that the log holds too are passed over.
        self._subscriber.behind = False
        missing = self._gap
        self._gap = False
        before = self._seq
        async for data in self._read_log():
            yield data
        if missing and self._seq == before:
            # Sent before we listened, not committed yet: the next flush brings it.
            await asyncio.sleep(CATCH_UP_SECONDS)
            self._gap = True
            self._subscriber.wake()
            self._subscriber.behind = True

    async def _read_log(self) -> AsyncIterator[bytes]:
        while not self._ended:
            entries = await unit(log.read, self.session_id, self._seq)
            if not entries:
                return
            for chunk in self._encode(entries):
                yield chunk

    def _encode(self, entries: list[Entry]) -> list[bytes]:
        chunks: list[bytes] = []
        parts: list[bytes] = []
        size = 0
        for entry in entries:
            if self._ended:
                break
            data = encode_entry(entry)
            if size + len(data) > JOINED_BYTES and parts:
                chunks.append(b"".join(parts))
                parts, size = [], 0
            parts.append(data)
            size += len(data)
            self._pass(entry.seq, entry.event)
        if parts:
            chunks.append(b"".join(parts))
        return chunks

    def _pass(self, seq: int, event: object) -> None:
        self._seq = seq
        if self._run_id is not None and isinstance(event, Done) and event.run_id == self._run_id:
            self._ended = True
