"""The runs that live in this process: tasks of their own, never inside a response.

Law: a run is held by a lease that the heartbeat renews; whoever finds a lease that
has run out takes the run over. A run that lost its lease writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError

from agentsite.engine import steps
from agentsite.engine.events import Entry, Noticed
from agentsite.engine.steps import RunState
from agentsite.host.agents import ServedAgents
from agentsite.host.build import build_driver
from agentsite.host.clock import now_ms
from agentsite.host.driver import Driver
from agentsite.host.errors import Refusal
from agentsite.host.hub import Hub
from agentsite.host.journal import Journal
from agentsite.host.ledger import Ledger
from agentsite.host.lifecycle import OpenedRun
from agentsite.host.liverun import LiveRun, LiveRuns
from agentsite.host.mcp import McpServers
from agentsite.host.meter import Meter
from agentsite.host.patience import log_failure, patient_unit
from agentsite.host.purse import record_calls_once
from agentsite.host.recovery import GivenUp, TakenRun, reopen
from agentsite.host.refused import end_if_refused
from agentsite.host.telling import tell_credential, tell_title
from agentsite.host.titles import await_title, has_answer, make_title
from agentsite.rows.tenancy import act_for, acting_for_all
from agentsite.rows.units import unit
from agentsite.telemetry import record
from agentsite.telemetry.ids import carry
from sessions_app import interactions, leases, lookups, queue
from sessions_app.actions import LeaseLost, RunRef
from sessions_app.interactions import GivenAnswer

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
STOP_SECONDS = 1.0
"""How long work that was cancelled may take to end; the supervisor kills soon after."""


class Runs:
    """All live runs of this process."""

    def __init__(
        self, owner: str, agents: ServedAgents, hub: Hub, journal: Journal, ledger: Ledger
    ) -> None:
        self.owner = owner
        self._ledger = ledger
        self.accepting = True
        self._agents = agents
        self._hub = hub
        self._journal = journal
        self.mcp = McpServers()
        self.live = LiveRuns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self._titling: set[str] = set()
        """Sessions for which a title is being made here."""
        self.listeners: list[Callable[[str], Awaitable[None]]] = []
        """Told the id of each run of an automation that ends or is parked here."""

    def __len__(self) -> int:
        return len(self.live)

    def owns_session(self, session_id: str) -> bool:
        """Whether the events of this session are made here."""
        return bool(self.live.of_session(session_id))

    def last_given(self, session_id: str) -> int:
        """Newest number of the events of this session that are made here; 0 when none are."""
        last = 0
        for run in self.live.of_session(session_id):  # hardly ever more than one
            last = max(last, run.driver.log.last_seq)
        return last

    @property
    def room(self) -> int:
        """How many more runs this process takes by itself."""
        return int(settings.MAX_LIVE_RUNS) - len(self)

    def check_room(self, scope_id: str) -> None:
        """Refuse (429, 503) when this process takes no more runs."""
        if not self.accepting:
            text = "The server is about to stop. Send the request again."
            raise Refusal(503, "shutting_down", text, headers={"Retry-After": "1"})
        most = settings.MAX_LIVE_RUNS
        crowded = len(self) >= most - most // 4  # the last quarter is for scopes with few runs
        if len(self) >= most or (crowded and self.live.count_of(scope_id) >= max(1, most // 4)):
            text = "The server has as many runs as it can take. Try again in a moment."
            raise Refusal(429, "too_many_runs", text, headers={"Retry-After": str(BUSY_SECONDS)})

    # ---- one run ----------------------------------------------------------------------

    def start(self, opened: OpenedRun) -> None:
        """Let a run that was just begun go on by itself."""
        self._launch(opened, None)

    def start_early(self, opened: OpenedRun) -> LiveRun:
        """The same for one whose beginning is being committed: it waits for `admit`."""
        return self._launch(opened, None, early=True)

    def admit(self, run: LiveRun) -> None:
        """It has begun: from here on it is one of ours, unless it broke before."""
        if run.task is None or not run.task.done():
            self.live.add(run)
        run.driver.begun.set()

    def _launch(self, opened: OpenedRun, taken: TakenRun | None, *, early: bool = False) -> LiveRun:
        run = LiveRun(build_driver(opened, self._journal, self._ledger))
        if not early:
            self.admit(run)
        task = asyncio.create_task(self._live_out(run, opened, taken), name=opened.ref.run_id)
        run.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    async def _live_out(self, run: LiveRun, opened: OpenedRun, taken: TakenRun | None) -> None:
        ref, agent = run.driver.ref, opened.agent.id
        act_for(ref.scope_id)
        carry(run_id=ref.run_id, session_id=ref.session_id, scope_id=ref.scope_id, agent=agent)
        try:
            with record.running(agent, ref.session_id, ref.run_id, ref.attempt) as span:
                state = await self._drive(run, opened, taken)
                if state.reason is not None:
                    record.ended(span, agent, state.reason)
        except LeaseLost as lost:
            if await end_if_refused(ref, self.owner, lost):
                await self.start_queued(ref.session_id)
            return
        except asyncio.CancelledError:
            if run.driver.handed_over:  # its work has ended: another process may go on at once
                await self._release([ref.run_id])
            raise
        except Exception:
            # Its lease runs out; another attempt follows, or the run is given up for poisoned.
            logger.exception("run %s broke", ref.run_id)
            return
        finally:
            self.live.remove(run)
        for connection_name in run.untold:
            await self.tell_of_credential(ref.session_id, connection_name)
        await self._follow_up(run.driver, state)

    async def _drive(self, run: LiveRun, opened: OpenedRun, taken: TakenRun | None) -> RunState:
        driver = run.driver
        first: tuple[steps.Incoming | GivenAnswer, ...] = (steps.Begun(),)
        if taken is not None:
            if isinstance(taken.first[0], steps.Cancelled):
                run.stopped.set()  # it only ends: it waits for nothing
            if taken.greeting:
                await self._journal.commit(driver.log, taken.greeting, taken.write)
            driver.rolled_back = driver.rolled_back or taken.rollback
            driver.steered = taken.steered
            first = taken.first
        if driver.conversation.bundle.notice or driver.conversation.bundle.mcp_servers:
            await driver.begun.wait()
        missing = await self._equip(run)
        if opened.turn is not None:
            driver.calls.begin(opened.turn.position, opened.turn.calls, opened.turn.results)
        driver.children.adopt(opened.subagents)
        if first == (steps.Begun(),):
            notices = (driver.conversation.bundle.notice, missing)
            if told := [Noticed(notice) for notice in notices if notice is not None]:
                driver.announce(told)
        return await driver.drive(*first)

    async def _equip(self, run: LiveRun) -> str | None:
        """Offer the tools of MCP servers, unless the run is stopped before or meanwhile."""
        if not run.driver.conversation.agent.bundle.mcp_servers or run.stopped.is_set():
            return None
        equipped = asyncio.create_task(self.mcp.equip(run.driver))
        stopped = asyncio.create_task(run.stopped.wait())
        try:
            await asyncio.wait({equipped, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return equipped.result() if equipped.done() else None
        finally:
            equipped.cancel()
            stopped.cancel()

    async def _follow_up(self, driver: Driver, state: RunState) -> None:
        """What comes after `done` or parking, and a title where none is yet."""
        request, done = driver.conversation.request, state.phase == "done"
        automation, ref = bool(request.automation), driver.ref
        left = await self._look_behind(ref, automation=automation, done=done)
        wanted = done and left.untitled and request.make_title and has_answer(driver)
        if wanted and ref.session_id not in self._titling:
            self._titling.add(ref.session_id)
            self.spawn(self._make_title(driver))

    async def _look_behind(self, ref: RunRef, *, automation: bool, done: bool) -> lookups.Left:
        """Late words, whoever waits for an automation's run, then the queue or an early answer.

        Returns what waited, and whether the session is without a title.
        """
        left = await unit(lookups.find_left, ref.run_id, ref.session_id)
        if left.signals:
            await self.announce_late(ref.run_id, ref.session_id)
        if automation:
            for tell in self.listeners:
                await log_failure(tell(ref.run_id))
        if not done:
            await self.claim(ref.run_id)  # in case the answer came while it was being parked
        elif left.queued:
            await self.start_queued(ref.session_id)
        return left

    async def announce_late(self, run_id: str, session_id: str) -> None:
        for entry in await unit(leases.announce_late, run_id, session_id, now_ms()):
            self._journal.publish_committed(session_id, entry)

    async def _make_title(self, driver: Driver) -> None:
        session_id, meter = driver.ref.session_id, Meter(driver.purse, "title")
        try:
            title = await make_title(driver.conversation, meter)
            await patient_unit(record_calls_once, driver.ref, meter.rows)
            if title:
                await self.rename(session_id, title, made=True)
        finally:
            self._titling.discard(session_id)

    async def rename(
        self, session_id: str, title: str, patience: float = 0.0, *, made: bool = False
    ) -> None:
        """Give a session a title, on its row and in its log; the owner of a live run does both.

        For that it is awaited `patience` seconds; it comes later all the same. One that a model
        has `made` never takes the place of another.
        """
        announced = await unit(leases.rename, session_id, title, now_ms(), made=made)
        if isinstance(announced, Entry):
            self._journal.publish_committed(session_id, announced)
        elif announced is not None:
            await self.take_signals([announced])
            await await_title(session_id, title, patience)

    async def tell_of_credential(self, session_id: str, connection_name: str) -> None:
        """Put into a session's log that a credential was saved."""
        entry = await unit(leases.tell_of_credential, session_id, connection_name, now_ms())
        if entry is not None:
            self._journal.publish_committed(session_id, entry)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something short beside everything else."""
        task = asyncio.create_task(log_failure(work))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    # ---- words to runs ----------------------------------------------------------------

    def hear(self, run_ids: list[str]) -> None:
        """Others have left something for these runs; the next heartbeat finds what fails here."""
        if any(run_id in self.live for run_id in run_ids):
            self.spawn(self.take_signals(run_ids))

    def take_up(self, run_ids: list[str]) -> None:
        """An operator offers runs to whoever takes them first: woken ones and queued ones."""
        if self.accepting:
            self.spawn(self._take_offered(run_ids))

    async def _take_offered(self, run_ids: list[str]) -> None:
        for run_id in run_ids:
            await self.claim(run_id)
        for session_id in await unit(queue.sessions_of, run_ids):
            await self.start_queued(session_id)

    async def take_signals(self, run_ids: list[str] | None = None) -> None:
        """Read what others have left for runs of ours, and do it."""
        ours = [run_id for run_id in run_ids or self.live if run_id in self.live]
        if not ours:
            return
        for signal_id, run_id, kind, data in await unit(leases.take_signals, self.owner, ours):
            run = self.live.get(run_id)
            if run is None:
                continue
            if kind == "title":
                tell_title(run.driver, signal_id, data["title"])
            else:
                await self._obey(run, kind, data)

    async def _obey(self, run: LiveRun, kind: str, data: dict[str, Any]) -> None:
        driver = run.driver
        match kind:
            case "credential":
                if not tell_credential(driver, data["connection"]):
                    run.untold.append(data["connection"])
            case "interrupt" | "rollback":
                run.interrupt(rollback=kind == "rollback")
            case "steer":
                driver.steered = True
                driver.post(steps.Joined())
            case "answer":
                for given in await unit(
                    interactions.answers_for, driver.ref.run_id, driver.asked()
                ):
                    driver.post(given)
            case _:
                raise ValueError(f"an unknown signal: {kind}")

    async def start_queued(self, session_id: str) -> bool:
        """Start the next queued run of a session, if it is idle and we take runs."""
        if not self.accepting:
            return False
        run_id = await unit(
            queue.start_next, session_id, self.owner, settings.RUN_LEASE_SECONDS, now_ms()
        )
        if run_id is not None:
            await self.adopt(run_id)
        return run_id is not None

    async def claim(self, run_id: str) -> None:
        """Take a run that was just woken, unless somebody was faster or has it."""
        lease = settings.RUN_LEASE_SECONDS
        if run_id in self.live or not self.accepting:
            return
        if await unit(leases.claim_run, run_id, self.owner, lease):
            await self.adopt(run_id)

    async def adopt(self, run_id: str) -> None:
        """Load a run that is ours by its row, and let it go on.

        Raises only when the database is away; a run that cannot be loaded is given up in time.
        """
        if not self.accepting:  # it began to stop meanwhile
            await unit(leases.release_leases, self.owner, [run_id])
            return
        try:
            with acting_for_all("a run is loaded whoever woke it, with the tools of its agent"):
                taken = await unit(reopen, self._agents, run_id, self.owner)
        except LeaseLost:
            logger.info("run %s was taken by another process first", run_id)
            return
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("run %s cannot be loaded", run_id)
            return
        if isinstance(taken, GivenUp):
            logger.error("run %s was given up: its processes broke off", run_id)
            await self._look_behind(taken.ref, automation=taken.automation, done=True)
            return
        ref = taken.opened.ref
        logger.info("run %s goes on here, attempt %d", ref.run_id, ref.attempt)
        self._launch(taken.opened, taken)

    async def _release(self, run_ids: list[str] | None) -> None:
        await self._journal.alone(partial(leases.release_leases, self.owner, run_ids))

    async def close(self, grace: float) -> None:
        """Let live runs end, then hand the rest over."""
        self.accepting = False
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace)
        for run in self.live.values():
            run.hand_over()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=STOP_SECONDS)
        with acting_for_all("runs of every scope are handed over"):
            await self._release(None)  # of those, too, whose tools do not let go
        for task in tuple(self._beside):
            task.cancel()
        if self._beside:
            await asyncio.wait(tuple(self._beside), timeout=STOP_SECONDS)
