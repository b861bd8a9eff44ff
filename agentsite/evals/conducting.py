"""An eval run from its first result to its last, in lanes side by side, under a lease.

Law: whoever conducts it renews the lease; who has lost it begins nothing more. What a host leaves
behind is read off the rows, and the next one goes on with it: no eval is tried twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from django.conf import settings
from django.db import Error as DatabaseError, InterfaceError, OperationalError

from agentsite.evals.trying import GONE_EVAL, HostStops, Trial, try_out
from agentsite.evals.wishes import CannotTry, find_agent, find_place
from agentsite.host.agents import Agent
from agentsite.host.errors import Refusal
from agentsite.host.patience import patient_unit
from agentsite.host.site import Site
from agentsite.operations import eval_rows
from agentsite.operations.evals import EvalResult, EvalRun
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit

logger = logging.getLogger(__name__)

WHY = "evals are the operators', each in a scope of its own"
NO_ROOM_SECONDS = 2.0
Tell = Callable[[EvalResult], None]


async def conduct(here: Site, eval_run_id: str, tell: Tell | None = None) -> None:
    """Work an eval run that this host holds, until it has ended or the host stops.

    `tell` is given each result as it is settled.
    """
    with acting_for_all(WHY):
        row = await unit(EvalRun.objects.get, pk=eval_run_id)
        try:
            agent = await unit(find_agent, here.agents, row.agent)
            conductor = Conductor(here, row, agent, tell)
        except CannotTry as problem:
            await patient_unit(eval_rows.end, row.pk, EvalRun.Status.BROKEN, str(problem))
            return
        await conductor.work()


class Conductor:
    """Of one eval run. Raises `CannotTry` for a judge that the agent no longer has."""

    def __init__(self, here: Site, row: EvalRun, agent: Agent, tell: Tell | None) -> None:
        self._here, self._row, self._agent, self._tell = here, row, agent, tell
        self._evals = {each.name: each for each in agent.bundle.evals}
        self._judge = find_place(agent, row.judge) if row.judge else None
        self._left: deque[EvalResult] = deque()
        self._standing: eval_rows.Standing = "held"

    async def work(self) -> None:
        """Go through what is open."""
        keeping = asyncio.create_task(self._keep(), name=f"lease of {self._row.pk}")
        whole = False
        try:
            await self._work_all()
            whole = True
        except* HostStops:
            logger.info("%s is left to another host", self._row.pk)
        finally:
            keeping.cancel()
            if not whole:
                await unit(eval_rows.release, self._row.pk, self._here.owner)
        if whole and self._standing != "lost":
            stopped = self._standing == "stop"
            status = EvalRun.Status.STOPPED if stopped else EvalRun.Status.DONE
            await patient_unit(eval_rows.end, self._row.pk, status)

    async def _work_all(self) -> None:
        open_results = await patient_unit(eval_rows.read_open, self._row.pk)
        begun = [each for each in open_results if each.run_id]
        self._left.extend(each for each in open_results if not each.run_id)
        # Those that another host has begun are in lanes that are not free before they end.
        async with asyncio.TaskGroup() as group:
            for result in begun:
                group.create_task(self._try(result, result.lane))
        async with asyncio.TaskGroup() as group:
            for lane in range(1, self._row.lanes + 1):
                group.create_task(self._work_lane(lane))

    async def _keep(self) -> None:
        """Renew the lease; learn of a wish to stop."""
        seconds = float(settings.RUN_LEASE_SECONDS)
        while self._standing != "lost":
            await asyncio.sleep(settings.RUN_HEARTBEAT_SECONDS)
            try:
                self._standing = await unit(
                    eval_rows.renew, self._row.pk, self._here.owner, seconds
                )
            except DatabaseError as error:
                logger.warning("the lease of %s could not be renewed: %s", self._row.pk, error)

    async def _work_lane(self, lane: int) -> None:
        while self._left and self._standing == "held":
            if not (self._here.private or self._here.runs.accepting):
                raise HostStops
            await self._try(self._left.popleft(), lane)

    async def _try(self, result: EvalResult, lane: int) -> None:
        one = self._evals.get(result.name)
        try:
            if one is None:
                raise CannotTry(GONE_EVAL)
            pinned = find_place(self._agent, result.model)
            trial = Trial(self._row, result, self._agent, one, pinned, self._judge, lane)
            while True:
                try:
                    await try_out(self._here, trial)
                    break
                except Refusal as refusal:  # this host is full, or about to stop
                    if not self._here.runs.accepting:
                        raise HostStops from refusal
                    await asyncio.sleep(NO_ROOM_SECONDS)
        except CannotTry as problem:
            await self._fail(result, str(problem))
        except (HostStops, OperationalError, InterfaceError):  # another host goes on
            raise
        except Exception:
            logger.exception("the eval %s could not be tried", result)
            await self._fail(result, "It could not be tried; the server's log says why.")
        await self._tell_of(result)

    async def _fail(self, result: EvalResult, problem: str) -> None:
        await patient_unit(eval_rows.settle, result.pk, status="error", error=problem)
        await patient_unit(eval_rows.add_up, self._row.pk)

    async def _tell_of(self, result: EvalResult) -> None:
        if self._tell is not None:
            await patient_unit(result.refresh_from_db)
            self._tell(result)
