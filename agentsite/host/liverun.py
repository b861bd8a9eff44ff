"""The runs in this process: each a driver and the task that drives it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from agentsite.engine import steps
from agentsite.host.driver import Driver


class LiveRun:
    """One run in this process."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.task: asyncio.Task[None] | None = None
        self.stopped = asyncio.Event()
        """Somebody has asked for its end."""
        self.untold: list[str] = []
        """Connections whose credentials were saved when its log was being closed."""

    def interrupt(self, *, rollback: bool) -> None:
        """Stop it in an orderly way; who asks again can still ask for a rollback, no more."""
        self.driver.rolled_back = self.driver.rolled_back or rollback
        if not self.stopped.is_set():
            self.stopped.set()
            self.driver.post(steps.Cancelled("user_abort"))

    def hand_over(self) -> None:
        """Break off, and leave what is under way to the next attempt."""
        self.driver.handed_over = True
        self.cancel()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class LiveRuns:
    """All of them, found by id, session and scope in no more time for a thousand than for one."""

    def __init__(self) -> None:
        self._runs: dict[str, LiveRun] = {}
        self._sessions: dict[str, set[LiveRun]] = {}
        self._scopes: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[str]:
        """Their ids."""
        return iter(tuple(self._runs))

    def values(self) -> tuple[LiveRun, ...]:
        return tuple(self._runs.values())

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def get(self, run_id: str) -> LiveRun | None:
        return self._runs.get(run_id)

    def of_session(self, session_id: str) -> set[LiveRun]:
        return self._sessions.get(session_id, set())

    def count_of(self, scope_id: str) -> int:
        return self._scopes[scope_id]

    def add(self, run: LiveRun) -> None:
        ref = run.driver.ref
        self._runs[ref.run_id] = run
        self._sessions.setdefault(ref.session_id, set()).add(run)
        self._scopes[ref.scope_id] += 1

    def remove(self, run: LiveRun) -> None:
        ref = run.driver.ref
        if self._runs.get(ref.run_id) is run:
            del self._runs[ref.run_id]
        if run not in self.of_session(ref.session_id):
            return  # it never was one of ours
        self._sessions[ref.session_id].discard(run)
        if not self._sessions[ref.session_id]:
            del self._sessions[ref.session_id]
        self._scopes[ref.scope_id] -= 1
        if not self._scopes[ref.scope_id]:
            del self._scopes[ref.scope_id]
