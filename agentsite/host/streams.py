"""Following a session: the log from a number on, then live, without gap or double.

Law: the log is the truth, the hub only a short way to its newest part. A stream
holds no database connection while it waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from agentsite.engine.events import AnyEvent, Entry
from agentsite.host.hub import Frame, Hub
from agentsite.host.interest import Interest
from agentsite.host.patience import patient_unit
from agentsite.host.wire import KEEPALIVE, encode_entry
from sessions_app import log

logger = logging.getLogger(__name__)

JOINED_BYTES = 8192
CATCH_UP_SECONDS = 0.02
SAME_MOMENT = 0.001
"""Seconds by which two reckonings of one moment may differ."""


class Follower:
    """One reader's place in one session's log."""

    def __init__(
        self, hub: Hub, session_id: str, after: int, interest: Interest, keepalive: float
    ) -> None:
        self.session_id = session_id
        self.interest = interest
        self.overhear: Callable[[AnyEvent], None] | None = None
        """Is told every event that is shown, in order."""
        self._hub = hub
        self._seq = after
        self._keepalive = keepalive
        self._gap = False
        self._alarm: tuple[float, asyncio.TimerHandle] | None = None
        """When we look again by ourselves (seconds of the monotonic clock)."""
        self._subscriber = hub.subscribe(session_id)

    def close(self) -> None:
        """Safe before the first frame, and more than once."""
        if self._alarm is not None:
            self._alarm[1].cancel()
        self._hub.unsubscribe(self._subscriber)

    async def frames(self, *, replay: bool, first: bytes | None = None) -> AsyncIterator[bytes]:
        """Whole frames, some joined; keepalive comments in between.

        `replay` reads the log first; without it the reader knows that nothing
        was logged before it subscribed. `first` goes before everything.
        """
        try:
            async for data in self._read_first(first, replay):
                yield data
            last_sent = time.monotonic()
            while not self._has_ended():
                if self._is_over():
                    yield await self.interest.farewell()
                    return
                sent = False
                for data in self._join(await self._subscriber.wait()):
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
                    self._subscriber.nudge()  # a notification may be lost; the log is the truth
            for data in self._join(self._subscriber.take()):
                yield data  # the last words of a session that was deleted
        finally:
            self.close()

    async def _read_first(self, first: bytes | None, replay: bool) -> AsyncIterator[bytes]:
        if first is not None:
            yield first
        if replay:
            async for data in self._read_log():
                yield data

    def _has_ended(self) -> bool:
        return self.interest.ended or self._hub.closed or self._subscriber.ended

    def _is_over(self) -> bool:
        """Whether a person has been awaited for too long; sees to it that we look again."""
        left = self.interest.seconds_left()
        if left is not None and left > 0:
            self._wake_at(time.monotonic() + left)
        return left is not None and left <= 0

    def _wake_at(self, moment: float) -> None:
        """See to it that we look again then; of several moments the last one counts."""
        if self._alarm is not None:
            if abs(self._alarm[0] - moment) < SAME_MOMENT:
                return
            self._alarm[1].cancel()
        seconds = max(0.0, moment - time.monotonic())
        self._alarm = moment, asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._subscriber.wake()

    def _join(self, frames: list[Frame]) -> list[bytes]:
        """Frames that go on where the reader is, joined into few writes."""
        if len(frames) == 1 and frames[0].previous == self._seq:  # the usual case at real time
            return [frames[0].data] if self._pass(frames[0].seq, frames[0].event) else []
        pack = _Pack()
        for frame in frames:
            if frame.seq <= self._seq or self.interest.ended:
                continue
            if frame.previous > self._seq:
                self._gap = True
                break
            if self._pass(frame.seq, frame.event):
                pack.add(frame.data)
        return pack.close()

    async def _catch_up(self) -> AsyncIterator[bytes]:
        # From here on frames queue up again; those that the log holds too are passed over.
        self._subscriber.behind = False
        missing, self._gap = self._gap, False
        before = self._seq
        async for data in self._read_log():
            yield data
        if missing and self._seq == before:
            # Sent before we listened and not committed yet: the next flush brings it.
            await asyncio.sleep(CATCH_UP_SECONDS)
            self._subscriber.nudge()
            self._gap = True

    async def _read_log(self) -> AsyncIterator[bytes]:
        while not self.interest.ended:
            entries = await self._read_entries()
            if not entries:
                return
            for data in self._encode(entries):
                yield data

    async def _read_entries(self) -> list[Entry]:
        """What comes next in the log; a database that is away for a moment ends no stream."""
        return await patient_unit(log.read, self.session_id, self._seq)

    def _encode(self, entries: list[Entry]) -> list[bytes]:
        pack = _Pack()
        for entry in entries:
            if self.interest.ended:
                break
            if self._pass(entry.seq, entry.event):
                pack.add(encode_entry(entry))
        return pack.close()

    def _pass(self, seq: int, event: AnyEvent) -> bool:
        self._seq = seq
        taken = self.interest.takes(event)
        if taken and self.overhear is not None:
            self.overhear(event)
        return taken


class _Pack:
    """Frames joined into writes of a few kilobytes; a frame is never cut."""

    __slots__ = ("_parts", "_size", "_writes")

    def __init__(self) -> None:
        self._writes: list[bytes] = []
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        if self._parts and self._size + len(data) > JOINED_BYTES:
            self._writes.append(b"".join(self._parts))
            self._parts, self._size = [], 0
        self._parts.append(data)
        self._size += len(data)

    def close(self) -> list[bytes]:
        if self._parts:
            self._writes.append(b"".join(self._parts))
            self._parts = []
        return self._writes
