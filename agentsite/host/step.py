"""What one commit of a run takes: events in order, and the rows that go with them.

Law: a step is composed without awaiting, so the numbers it foresees are the
numbers it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentsite.engine.events import AnyEvent
from agentsite.host.clock import now_ms
from agentsite.host.journal import Journal, RunLog


class Step:
    """Collects, then commits once."""

    def __init__(self, journal: Journal, run_log: RunLog) -> None:
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
