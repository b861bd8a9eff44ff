"""What one commit of a run takes: events in order, and the rows that go with them.

Law: a step is composed without awaiting, so the numbers it foresees are the
numbers it gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agentsite.engine.events import AnyEvent, Entry
from agentsite.host.clock import now_ms
from agentsite.host.journal import RunLog, Write


class Writer(Protocol):
    """Takes the events of a run to its log: the journal, or what words them for a sub-agent."""

    def emit(self, run_log: RunLog, event: AnyEvent) -> Entry: ...

    async def commit(
        self,
        run_log: RunLog,
        events: Sequence[AnyEvent],
        write: Write | None = None,
        at: int | None = None,
    ) -> Any: ...

    def enqueue(
        self,
        run_log: RunLog,
        events: Sequence[AnyEvent],
        write: Write | None = None,
        at: int | None = None,
    ) -> asyncio.Future[Any]: ...

    async def make_room(self, run_log: RunLog) -> None: ...


class Step:
    """Collects, then commits once."""

    def __init__(self, journal: Writer, run_log: RunLog) -> None:
        self._journal = journal
        self._log = run_log
        self._events: list[AnyEvent] = []
        self._writes: list[Callable[[], Any]] = []
        self._at: int | None = None

    def __bool__(self) -> bool:
        return bool(self._events or self._writes)

    @property
    def at(self) -> int:
        """Time of all its events, in ms: that of the first thing it was given."""
        if self._at is None:
            self._at = now_ms()
        return self._at

    @property
    def next_seq(self) -> int:
        """Number of the event that is added next."""
        return self._log.last_seq + 1 + len(self._events)

    def add(self, event: AnyEvent) -> int:
        """Add an event; returns the number it will have."""
        self._events.append(event)
        return self.next_seq - 1

    def write(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._writes.append(lambda: fn(*args, **kwargs))

    async def commit(self) -> None:
        """Raises `LeaseLost` when the database refuses."""
        writes = self._writes

        def write_all() -> None:
            for write in writes:
                write()

        await self._journal.commit(self._log, self._events, write_all, self.at)
