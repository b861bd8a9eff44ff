"""Who listens to which session in this process, and what they are sent.

Law: publishing never waits and never fails. A subscriber that does not keep up
is cut off (`behind`) and goes on from the log; the run never notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from agentsite.engine.events import AnyEvent, Entry
from agentsite.telemetry.metrics import OPEN_STREAMS

MAX_WAITING = 1024


class Frame(msgspec.Struct, frozen=True):
    """One event on its way to clients."""

    previous: int
    """Number of the event before it in the log: a listener that has not seen that one has a gap."""
    seq: int
    data: bytes
    event: AnyEvent


class Subscriber:
    """One open stream: a bounded queue that a single reader empties."""

    __slots__ = ("_frames", "_waiter", "behind", "ended", "session_id")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.behind = False
        """The queue overflowed, or the events are made elsewhere: read the log."""
        self.ended = False
        """The session was deleted; what is still here was its last."""
        self._frames: list[Frame] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        if self.behind:
            return
        if len(self._frames) >= MAX_WAITING:
            self._frames.clear()
            self.behind = True
        else:
            self._frames.append(frame)
        self.wake()

    def nudge(self) -> None:
        """Another process has committed events of this session."""
        self.behind = True
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> list[Frame]:
        """All frames that wait; empty when woken for another reason (`behind`, keepalive)."""
        if not self._frames and not self.behind:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def take(self) -> list[Frame]:
        """All frames that wait, at once."""
        frames, self._frames = self._frames, []
        return frames


class Hub:
    """Subscribers by session. All calls from the event loop's thread."""

    def __init__(self) -> None:
        self._sessions: dict[str, set[Subscriber]] = {}
        self.closed = False
        """The process is about to end: streams end, their readers go on elsewhere."""

    def close(self) -> None:
        self.closed = True
        self.wake_all()

    def subscribe(self, session_id: str) -> Subscriber:
        subscriber = Subscriber(session_id)
        OPEN_STREAMS.inc()
        self._sessions.setdefault(session_id, set()).add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        group = self._sessions.get(subscriber.session_id)
        if group is None or subscriber not in group:
            return
        OPEN_STREAMS.dec()
        group.discard(subscriber)
        if not group:
            del self._sessions[subscriber.session_id]

    def listened(self, session_id: str) -> bool:
        return session_id in self._sessions

    def sessions(self) -> list[str]:
        return list(self._sessions)

    def publish(self, session_id: str, frame: Frame) -> None:
        for subscriber in self._sessions.get(session_id, ()):
            subscriber.put(frame)

    def nudge(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            for subscriber in self._sessions.get(session_id, ()):
                subscriber.nudge()

    def end(self, session_ids: Iterable[str]) -> None:
        """These sessions are gone: nothing more will come."""
        for session_id in session_ids:
            for subscriber in self._sessions.get(session_id, ()):
                subscriber.ended = True
                subscriber.wake()

    def wake_all(self) -> None:
        """Let every stream look at the time (keepalive)."""
        for group in self._sessions.values():
            for subscriber in group:
                subscriber.wake()

    def __len__(self) -> int:
        return sum(len(group) for group in self._sessions.values())


def frame_entry(previous: int, entry: Entry, data: bytes) -> Frame:
    return Frame(previous, entry.seq, data, entry.event)
