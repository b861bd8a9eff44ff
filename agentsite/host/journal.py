"""Events on their way into the log, in groups: one writer per process.

Law: an event that changes something is committed, with its rows, before it is
sent. Text is sent at once and committed within the flush time; it never overtakes
an event that waits. What the database refuses (a lost lease) breaks that run only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import Error as DatabaseError, InterfaceError, OperationalError

from agentsite.engine.events import AnyEvent, Entry
from agentsite.host.clock import now_ms
from agentsite.host.hub import Frame, Hub
from agentsite.host.wire import encode_entry
from agentsite.rows.tenancy import act_for_all, switch, tenant
from agentsite.rows.units import unit
from sessions_app import log
from sessions_app.actions import LeaseLost, RunRef

logger = logging.getLogger(__name__)

Write = Callable[[], Any]
LOW_WATER = log.BLOCK // 4
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 8.0)


class RunLog:
    """Numbers and unwritten events of one live run. Used from the event loop only."""

    def __init__(self, ref: RunRef, last_seq: int, block_end: int) -> None:
        self.ref = ref
        self.last_seq = last_seq
        """Last number given out."""
        self.block_end = block_end
        self.broken: BaseException | None = None
        self.closing = False
        """The run's end is under way: no further numbers will be needed."""
        self.pending: list[Entry] = []
        self.held: deque[tuple[int, Entry, bool]] = deque()
        """Not yet sent, in order: (number before it, entry, must be committed first)."""
        self.writes: list[tuple[Write | None, asyncio.Future[Any]]] = []

    @property
    def is_short(self) -> bool:
        """A further block of numbers is overdue: wait for it (`Journal.make_room`)."""
        return self.block_end - self.last_seq < LOW_WATER // 2

    def number(self, event: AnyEvent, at: int) -> tuple[int, Entry]:
        if self.broken is not None:
            raise self.broken
        if self.last_seq >= self.block_end:
            raise RuntimeError("event numbers ran out before a block was reserved")
        before = self.last_seq
        self.last_seq += 1
        entry = Entry(self.last_seq, at, event)
        self.pending.append(entry)
        return before, entry


class _Taken:
    """What one flush carries for one run."""

    def __init__(self, run_log: RunLog) -> None:
        self.log = run_log
        self.entries = tuple(run_log.pending)
        self.writes = run_log.writes
        self.block_end: int | None = None
        self.results: list[Any] = []
        run_log.pending, run_log.writes = [], []

    @property
    def needs_room(self) -> bool:
        return self.log.block_end - self.log.last_seq < LOW_WATER and not self.log.closing

    @property
    def has_rows(self) -> bool:
        """Whether there is more to write than events."""
        return self.needs_room or any(write is not None for write, _ in self.writes)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that the database must hear of."""
        return not self.entries and not self.has_rows

    def write(self) -> None:
        self.results = [write() if write is not None else None for write, _ in self.writes]
        if self.needs_room:
            self.block_end = log.reserve(self.log.ref.run_id, self.log.ref.attempt)

    def stretch(self) -> log.Stretch | None:
        if not self.entries:
            return None
        ref = self.log.ref
        return log.Stretch(ref.session_id, ref.run_id, ref.attempt, ref.scope_id, self.entries)

    def refuse_if_broken(self) -> bool:
        """What came in while an earlier flush of the run failed must not be written after it."""
        if self.log.broken is not None:
            self.break_with(self.log.broken)
        return self.log.broken is not None

    def break_with(self, error: BaseException) -> None:
        """Refuse this and all that was said since: behind a hole nothing may be written."""
        late, self.log.writes = self.log.writes, []
        self.log.broken = error
        self.log.pending.clear()
        self.log.held.clear()
        for _, future in self.writes + late:
            if not future.done():
                future.set_exception(error)


def _write_group(group: Sequence[_Taken], again: bool) -> None:
    """One transaction, in which each run's rows are written as its scope."""
    with tenant(group[0].log.ref.scope_id):
        if again and _is_written(group):
            return
        # Log first: `finish_run` closes the run, and the log takes nothing after that.
        log.append([stretch for taken in group if (stretch := taken.stretch()) is not None])
        for taken in group:
            if taken.has_rows:
                switch(taken.log.ref.scope_id)
            taken.write()


def _look_at(future: asyncio.Future[Any]) -> None:
    """A refusal nobody awaits is known to the run's log, which raises it at the next event."""
    if not future.cancelled():
        future.exception()


def _is_written(group: Sequence[_Taken]) -> bool:
    """Tell whether a commit whose answer got lost has happened: it is all there, or nothing."""
    first = next((found for taken in group if (found := taken.stretch()) is not None), None)
    if first is None:
        return False
    switch(first.scope_id)
    if not log.holds(first):
        return False
    for taken in group:
        taken.results = [None] * len(taken.writes)
    return True


class Journal:
    """The process's one writer of the log."""

    def __init__(self, hub: Hub, flush_seconds: float) -> None:
        self._hub = hub
        self._flush_seconds = flush_seconds
        self._dirty: set[RunLog] = set()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._open = True
        self._writing = asyncio.Lock()

    def start(self) -> None:
        self._task = asyncio.create_task(self._flush_for_ever(), name="journal")

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._open = False
        self._wake.set()
        if self._task is not None:
            await self._task

    def emit(self, run_log: RunLog, event: AnyEvent) -> Entry:
        """Send an event that changes nothing; commit it within the flush time."""
        before, entry = run_log.number(event, now_ms())
        if run_log.held:
            run_log.held.append((before, entry, False))
        else:
            self._send(run_log, before, entry)
        self._dirty.add(run_log)
        if self._timer is None and not self._wake.is_set():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._flush_seconds, self._wake.set)
        return entry

    async def commit(
        self,
        run_log: RunLog,
        events: Sequence[AnyEvent],
        write: Write | None = None,
        at: int | None = None,
    ) -> Any:
        """Commit events together with rows, then send them; returns what `write` returned.

        Raises `LeaseLost` when the database refuses; then nothing was written or sent.
        """
        future = self.enqueue(run_log, events, write, at)
        # The rows are written whether or not the caller still waits.
        return await asyncio.shield(future)

    def enqueue(
        self,
        run_log: RunLog,
        events: Sequence[AnyEvent],
        write: Write | None = None,
        at: int | None = None,
    ) -> asyncio.Future[Any]:
        """The same without waiting; the numbers are given out now."""
        if run_log.broken is not None:
            raise run_log.broken
        at = now_ms() if at is None else at
        for event in events:
            before, entry = run_log.number(event, at)
            run_log.held.append((before, entry, True))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_look_at)
        run_log.writes.append((write, future))
        self._dirty.add(run_log)
        self._wake.set()
        return future

    async def alone(self, write: Write) -> Any:
        """Run a unit that changes many runs while the log is not written.

        Both lock runs, in orders of their own: at once, they would lock each other out.
        """
        async with self._writing:
            return await unit(write)

    async def make_room(self, run_log: RunLog) -> None:
        """Wait for a further block of numbers when the present one runs out."""
        if run_log.is_short:
            await self.commit(run_log, ())

    def publish_committed(self, session_id: str, *entries: Entry) -> None:
        """Send events that were committed beside the runs."""
        for entry in entries if self._hub.listened(session_id) else ():
            frame = Frame(entry.seq - 1, entry.seq, encode_entry(entry), entry.event)
            self._hub.publish(session_id, frame)

    def _send(self, run_log: RunLog, before: int, entry: Entry) -> None:
        session_id = run_log.ref.session_id
        if self._hub.listened(session_id):
            frame = Frame(before, entry.seq, encode_entry(entry), entry.event)
            self._hub.publish(session_id, frame)

    async def _flush_for_ever(self) -> None:
        act_for_all("one writer for the runs of every scope")
        while self._open or self._dirty:
            await self._wake.wait()
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            taken_now = [_Taken(run_log) for run_log in self._dirty]
            self._dirty.clear()
            sound = [taken for taken in taken_now if not taken.refuse_if_broken()]
            group = [taken for taken in sound if not taken.is_empty]
            for taken in sound:
                if taken.is_empty:
                    taken.write()
                    self._settle(taken)
            if group:
                await self._flush(group)

    async def _flush(self, group: list[_Taken]) -> None:
        try:
            await self._write(group)
        except Exception as error:  # noqa: BLE001 - the one writer outlives whatever a run brings
            if len(group) == 1:
                self._break(group[0], error)
                return
            # One refused run must not cost the others their events.
            for taken in group:
                await self._flush([taken])
            return
        for taken in group:
            self._settle(taken)

    async def _write(self, group: list[_Taken]) -> None:
        for place, seconds in enumerate(RETRY_SECONDS):
            try:
                await self.alone(partial(_write_group, group, again=place > 0))
                return
            except (OperationalError, InterfaceError) as error:
                logger.warning("the log could not be written, trying again: %s", error)
                await asyncio.sleep(seconds)
            except LeaseLost as error:
                raise DatabaseError(str(error)) from error
        await self.alone(partial(_write_group, group, again=True))

    def _break(self, taken: _Taken, error: Exception) -> None:
        run_id = taken.log.ref.run_id
        lost = LeaseLost(run_id)
        lost.__cause__ = error
        if isinstance(error, DatabaseError):
            logger.warning("run %s was refused by the database: %s", run_id, error)
        else:
            logger.error("the events of run %s cannot be written", run_id, exc_info=error)
        taken.break_with(lost)

    def _settle(self, taken: _Taken) -> None:
        run_log = taken.log
        if taken.block_end is not None:
            run_log.block_end = taken.block_end
        written = taken.entries[-1].seq if taken.entries else 0
        while run_log.held:
            before, entry, structural = run_log.held[0]
            if structural and entry.seq > written:
                break
            run_log.held.popleft()
            self._send(run_log, before, entry)
        for (_, future), result in zip(taken.writes, taken.results, strict=True):
            if not future.done():
                future.set_result(result)
