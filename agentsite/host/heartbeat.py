"""The heartbeat of a process: its leases are renewed, and what nobody holds is taken over.

Law: renewing waits for nothing that is done for others: the two are loops of their own. A process
that is full leaves orphans to others for one beat; then it takes them all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error as DatabaseError, InterfaceError, OperationalError

from agentsite.host.journal import Journal
from agentsite.host.trust import RETRY_SECONDS, Trust
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit
from agentsite.telemetry import metrics
from sessions_app import due, interactions, leases, queue

if TYPE_CHECKING:
    from agentsite.host.runs import Runs

logger = logging.getLogger(__name__)


class Heartbeat:
    """Beats for the runs of this process."""

    def __init__(self, runs: Runs, journal: Journal) -> None:
        self._runs = runs
        self._journal = journal
        self._trust = Trust(settings.RUN_LEASE_SECONDS)
        self._taken: deque[str] = deque()
        """Runs that are ours by their rows and that are to be loaded."""

    async def renew_for_ever(self) -> None:
        """Renew in regular pauses, and soon again where the database was away."""
        await self._repeat(self.renew)

    async def take_over_for_ever(self) -> None:
        """Look for what nobody holds in the same pauses, and at once while there is more of it."""
        await self._repeat(self.take_over)

    async def _repeat(self, beat: Callable[[], Awaitable[bool]]) -> None:
        act_for_all("leases of every scope")
        usual = pause = float(settings.RUN_HEARTBEAT_SECONDS)
        while True:
            meant = time.monotonic() + pause
            await asyncio.sleep(pause)
            metrics.LOOP_LAG.set(max(0.0, time.monotonic() - meant))
            pause = usual
            try:
                if await beat():
                    pause = 0.0
            except DatabaseError as error:
                self._trust.lose()
                pause = min(usual, RETRY_SECONDS)
                logger.warning("the heartbeat failed: %s", error)
            except Exception:
                # Whatever it is: without the next beat all runs of this process are lost.
                logger.exception("the heartbeat failed")

    async def renew(self) -> bool:
        """Renew all leases of this process; False, as that is done for a while."""
        live = self._runs.live
        mine = [*live, *self._taken]
        if mine:
            renew = partial(leases.renew_leases, self._runs.owner, mine, settings.RUN_LEASE_SECONDS)
            kept = {held.run_id: held for held in await self._journal.alone(renew)}
            for run_id in mine:
                run, held = live.get(run_id), kept.get(run_id)
                if run is None or run.driver.log.closing:
                    continue
                if held is None:
                    logger.warning("run %s is held by another process now", run_id)
                    run.cancel()
                elif held.stop:
                    run.interrupt(rollback=held.rollback)
            await self._runs.take_signals()
        return False

    async def take_over(self) -> bool:
        """Claim and resume runs whose process is gone; start queues and close old questions.

        Returns whether there is more of it.
        """
        if not self._runs.accepting:
            return False
        await self._load_taken()
        lease, spared = settings.RUN_LEASE_SECONDS, list(self._runs.live)
        found, more = await unit(due.look, lease, spared), False
        if found.questions:
            for run_id in await unit(interactions.expire_due):
                await self._runs.claim(run_id)
        if await self._trust.holds() and found.leases:
            more = await self._take_orphans(spared)
        if found.queues:
            more = await self._start_queues() or more
        if found.titles:
            for run_id, session_id in await unit(leases.find_late_titles):
                await self._runs.announce_late(run_id, session_id)
        return more

    async def _take_orphans(self, spared: list[str]) -> bool:
        room = self._runs.room
        most, overdue = min(room, leases.TAKEN_AT_ONCE), 0.0
        if room <= 0:  # others had a whole beat to take these: they are full or gone, too
            most, overdue = leases.TAKEN_AT_ONCE, float(settings.RUN_HEARTBEAT_SECONDS)
        lease, owner = settings.RUN_LEASE_SECONDS, self._runs.owner
        taken = await unit(leases.take_over, owner, lease, spared, most, overdue)
        self._taken += taken
        await self._load_taken()
        return room > 0 and len(taken) == most

    async def _load_taken(self) -> None:
        """Let runs that were claimed go on; what a lost connection leaves is for the next beat."""
        while self._taken:
            run_id = self._taken.popleft()
            try:
                await self._runs.adopt(run_id)
            except (OperationalError, InterfaceError):
                self._taken.appendleft(run_id)
                raise

    async def _start_queues(self) -> bool:
        # One for a full process, too: what waits has been accepted.
        most = max(1, min(self._runs.room, queue.ORPHANS_AT_ONCE))
        found = await unit(queue.find_orphans, most)
        started = [await self._runs.start_queued(session_id) for session_id in found]
        return self._runs.room > 0 and len(found) == most and any(started)
