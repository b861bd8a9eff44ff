"""The simulation's journal: numbers, steps and commits of one attempt of a run.

Law: only what is committed to the rows outlives a crash. Text is sent before it is
committed, everything else after. A number that was given out is never given out again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from agentsite.engine import events as e
from agentsite.engine.steps import RunState
from tests.engine.simulation_checks import Observed, Watch
from tests.engine.simulation_rows import RunRow

if TYPE_CHECKING:
    from tests.engine.simulation import World

ROOM = 8
"""Numbers that are kept for text between two commits."""


class Crashed(Exception):
    """The process died; what it had not committed is gone."""


class Journal:
    """See `agentsite.host.journal` and `agentsite.host.step`."""

    def __init__(self, world: World, run: RunRow) -> None:
        assert isinstance(run.observed, Observed)
        self.world, self.rng, self.rows, self.run = world, world.rng, world.rows, run
        self.state = msgspec.json.decode(run.state, type=RunState)
        self.watch = Watch(world.rng, run.observed.copy())
        self.parked = False
        self.last_seq = self.rows.reserved
        self.block_end = self.rows.reserve()
        self.events: list[e.AnyEvent] = []
        self.writes: list[Callable[[], Any]] = []
        self.step_at = 0
        self.unwritten: list[e.Entry] = []

    @property
    def next_seq(self) -> int:
        return self.last_seq + 1 + len(self.events)

    @property
    def at(self) -> int:
        """Time of the step: that of the first thing it was given."""
        self.step_at = self.step_at or self.world.now()
        return self.step_at

    def number(self, event: e.AnyEvent, at: int) -> e.Entry:
        assert self.last_seq < self.block_end, "numbers ran out"
        self.last_seq += 1
        entry = e.Entry(self.last_seq, at, event)
        self.unwritten.append(entry)
        return entry

    def emit(self, event: e.AnyEvent) -> e.Entry:
        """Send text at once."""
        entry = self.number(event, self.world.now())
        self.world.seen.append(entry)
        return entry

    def add(self, event: e.AnyEvent) -> int:
        self.events.append(event)
        return self.next_seq - 1

    def write(self, fn: Callable[..., Any], *args: Any) -> None:
        self.writes.append(partial(fn, *args))

    def flush(
        self,
        structural: tuple[e.AnyEvent, ...] = (),
        writes: tuple[Callable[[], Any], ...] = (),
        at: int | None = None,
    ) -> None:
        """One transaction: all events so far and these, and their rows; then they are sent."""
        while self.block_end - self.last_seq < len(structural) + ROOM:
            self.block_end = self.rows.reserve()
        at = self.world.now() if at is None else at
        for event in structural:
            self.number(event, at)
        self.world.may_crash()
        self.rows.append(self.unwritten)
        for write in writes:
            write()
        self.unwritten = []
        self.world.may_crash()
        self.world.catch_up()

    def commit(self) -> None:
        if not self.events and not self.writes:
            return
        events, writes = tuple(self.events), tuple(self.writes)
        at, seq = self.at, self.last_seq + len(events)
        self.events, self.writes, self.step_at = [], [], 0
        self.flush(events, (*writes, partial(self._save, seq)), at)

    def _save(self, seq: int) -> None:
        run = self.run
        run.state, run.observed = msgspec.json.encode(self.state), self.watch.books.copy()
        if self.state.phase == "done":
            self.rows.finish(run, seq)
            wished = any(c.stops for c in self.rows.calls.values() if c.run_id == run.id)
            assert not (wished and self.state.reason == "model_stop"), "a wish to stop got lost"
        elif self.parked:
            run.status, run.last_seq, self.rows.reserved = "waiting", seq, seq
        else:
            run.last_seq = seq

    def advance_last_seq(self, seq: int) -> None:
        self.run.last_seq = max(self.run.last_seq, seq)
