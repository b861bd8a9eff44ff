"""The runs that live in this process: tasks of their own, never inside a response.

Law: a run is held by a lease that the heartbeat renews; whoever finds a lease that
has run out takes the run over. A run that lost its lease writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError

from agentsite.engine import steps
from agentsite.engine.events import Noticed
from agentsite.engine.steps import RunState
from agentsite.host.agents import ServedAgents
from agentsite.host.clock import now_ms
from agentsite.host.conversation import Conversation
from agentsite.host.driver import Driver
from agentsite.host.errors import Refusal
from agentsite.host.hub import Hub
from agentsite.host.journal import Journal, RunLog
from agentsite.host.lifecycle import OpenedRun
from agentsite.host.recovery import MAX_LOSSES, TakenRun, give_up, reopen
from agentsite.host.titles import make_title
from agentsite.rows.units import unit
from sessions_app import interactions, leases, lookups, metering, queue
from sessions_app.actions import LeaseLost, RunRef
from sessions_app.interactions import GivenAnswer

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5


class LiveRun:
    """One run in this process."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Runs:
    """All live runs of this process, and its heartbeat."""

    def __init__(self, owner: str, agents: ServedAgents, hub: Hub, journal: Journal) -> None:
        self.owner = owner
        self.accepting = True
        self._agents = agents
        self._hub = hub
        self._journal = journal
        self._live: dict[str, LiveRun] = {}
        self._sessions: Counter[str] = Counter()
        self._scopes: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._live)

    def owns_session(self, session_id: str) -> bool:
        """Whether the events of this session are made here."""
        return self._sessions[session_id] > 0

    def last_given(self, session_id: str) -> int:
        """Newest number of the events of this session that are made here; 0 when none are."""
        if not self.owns_session(session_id):
            return 0
        logs = (run.driver.log for run in self._live.values())
        return max((log.last_seq for log in logs if log.ref.session_id == session_id), default=0)

    def check_room(self, scope_id: str) -> None:
        """Refuse (429, 503) when this process takes no more runs."""
        if not self.accepting:
            text = "The server is about to stop. Send the request again."
            raise Refusal(503, "shutting_down", text, headers={"Retry-After": "1"})
        most = settings.MAX_LIVE_RUNS
        crowded = len(self) >= most - most // 4  # the last quarter is for scopes with few runs
        if len(self) >= most or (crowded and self._scopes[scope_id] >= max(1, most // 4)):
            text = "The server has as many runs as it can take. Try again in a moment."
            raise Refusal(429, "too_many_runs", text, headers={"Retry-After": str(BUSY_SECONDS)})

    # ---- one run ----------------------------------------------------------------------

    def start(self, opened: OpenedRun) -> None:
        """Let a run that was just begun go on by itself."""
        self._launch(opened, None)

    def _launch(self, opened: OpenedRun, taken: TakenRun | None) -> None:
        ref = opened.ref
        conversation = Conversation(
            agent=opened.agent,
            session_id=ref.session_id,
            run_id=ref.run_id,
            scope_id=ref.scope_id,
            request=opened.request,
            history=opened.history,
            images=opened.images,
            session_usage=opened.session_usage,
            assistant_messages=opened.assistant_messages,
            message_ids=opened.message_ids,
            seconds_used=opened.seconds_used,
            memory=opened.memory,
        )
        driver = Driver(
            conversation,
            opened.state,
            self._journal,
            RunLog(ref, opened.last_seq, opened.block_end),
            usage=opened.spent,
            cost_micros=opened.spent_micros,
        )
        run = LiveRun(driver)
        self._live[ref.run_id] = run
        self._sessions[ref.session_id] += 1
        self._scopes[ref.scope_id] += 1
        task = asyncio.create_task(self._live_out(run, opened, taken), name=ref.run_id)
        run.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live_out(self, run: LiveRun, opened: OpenedRun, taken: TakenRun | None) -> None:
        ref = run.driver.ref
        try:
            state = await self._drive(run.driver, opened, taken)
        except LeaseLost:
            logger.warning("run %s was taken over by another process", ref.run_id)
            return
        except Exception:
            # Its lease runs out; another attempt follows, or the run is given up for poisoned.
            logger.exception("run %s broke", ref.run_id)
            return
        finally:
            self._forget(ref)
        await self._follow_up(run.driver.conversation, state, ref)

    async def _drive(self, driver: Driver, opened: OpenedRun, taken: TakenRun | None) -> RunState:
        first: tuple[steps.Incoming | GivenAnswer, ...] = (steps.Begun(),)
        if taken is not None:
            if taken.greeting:
                await self._journal.commit(driver.log, taken.greeting, taken.write)
            driver.rolled_back = taken.rollback
            first = taken.first
        if opened.turn is not None:
            driver.calls.begin(opened.turn.position, opened.turn.calls, opened.turn.results)
        notice = driver.conversation.bundle.notice
        if notice is not None and first == (steps.Begun(),):
            driver.announce([Noticed(notice)])
        return await driver.drive(*first)

    def _forget(self, ref: RunRef) -> None:
        self._live.pop(ref.run_id, None)
        for counter, key in ((self._sessions, ref.session_id), (self._scopes, ref.scope_id)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]

    async def _follow_up(self, conversation: Conversation, state: RunState, ref: RunRef) -> None:
        """What comes after `done`: late words, the queue, and a title after the first answer."""
        await self._announce_late(ref.run_id, ref.session_id)
        if state.phase != "done":
            await self.claim(ref.run_id)  # in case the answer came while it was being parked
            return
        await self.start_queued(ref.session_id)
        if conversation.request.make_title and state.reason == "model_stop":
            self.spawn(self._make_title(conversation, ref))

    async def _announce_late(self, run_id: str, session_id: str) -> None:
        entry = await unit(leases.announce_late_title, run_id, session_id, now_ms())
        if entry is not None:
            self._journal.publish_committed(session_id, entry)

    async def _make_title(self, conversation: Conversation, ref: RunRef) -> None:
        title, rows = await make_title(conversation)
        await unit(metering.record_calls, ref, rows)
        if title:
            await self.rename(ref.session_id, title)

    async def rename(self, session_id: str, title: str) -> None:
        """Give a session a title, on its row and in its log."""
        entry = await unit(leases.rename, session_id, title, now_ms())
        if entry is not None:
            self._journal.publish_committed(session_id, entry)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something short beside everything else."""
        task = asyncio.create_task(_log_failure(work))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    # ---- words to runs ----------------------------------------------------------------

    async def take_signals(self, run_ids: list[str] | None = None) -> None:
        """Read what others have left for runs of ours, and do it."""
        ours = [run_id for run_id in run_ids or self._live if run_id in self._live]
        if not ours:
            return
        for signal_id, run_id, kind, data in await unit(leases.take_signals, ours):
            run = self._live.get(run_id)
            if run is None:
                continue
            if kind == "title":
                run.driver.announce_title(signal_id, data["title"])
            else:
                await self._obey(run.driver, kind)

    async def _obey(self, driver: Driver, kind: str) -> None:
        match kind:
            case "interrupt":
                driver.post(steps.Cancelled("user_abort"))
            case "rollback":
                driver.rolled_back = True
                driver.post(steps.Cancelled("user_abort"))
            case "steer":
                driver.steered = True
                driver.post(steps.Joined())
            case "answer":
                asked = [call.id for call in driver.state.calls if call.status == "asked"]
                for given in await unit(interactions.answers_for, driver.ref.run_id, asked):
                    driver.post(given)
            case _:
                raise ValueError(f"an unknown signal: {kind}")

    # ---- the queue ----------------------------------------------------------------------

    async def start_queued(self, session_id: str) -> None:
        """Start the next queued run of a session, if it is idle and we take runs."""
        if not self.accepting:
            return
        run_id = await unit(
            queue.start_next, session_id, self.owner, settings.RUN_LEASE_SECONDS, now_ms()
        )
        if run_id is not None:
            await self._adopt(run_id)

    # ---- leases -----------------------------------------------------------------------

    async def keep_alive(self) -> None:
        """Renew our leases and take over what nobody holds, for ever."""
        while True:
            await asyncio.sleep(settings.RUN_HEARTBEAT_SECONDS)
            try:
                await self.beat()
            except DatabaseError as error:
                logger.warning("the heartbeat failed: %s", error)
            except Exception:
                # Whatever it is: without the next beat all runs of this process are lost.
                logger.exception("the heartbeat failed")

    async def beat(self) -> None:
        """One heartbeat."""
        mine = list(self._live)
        if mine:
            renew = partial(leases.renew_leases, self.owner, mine, settings.RUN_LEASE_SECONDS)
            kept = await self._journal.alone(renew)
            for run_id in set(mine) - kept:
                run = self._live.get(run_id)
                if run is not None and not run.driver.log.closing:
                    logger.warning("run %s is held by another process now", run_id)
                    run.cancel()
            await self.take_signals()
        if self.accepting:
            await self.take_over()

    async def take_over(self) -> None:
        """Claim and resume runs whose process is gone; start queues and close old questions."""
        for run_id in await unit(interactions.expire_due):
            await self.claim(run_id)
        for run_id in await unit(leases.take_over, self.owner, settings.RUN_LEASE_SECONDS):
            await self._adopt(run_id)
        for session_id in await unit(queue.find_orphans):
            await self.start_queued(session_id)
        for run_id, session_id in await unit(leases.find_late_titles):
            await self._announce_late(run_id, session_id)

    async def claim(self, run_id: str) -> None:
        """Take a run that was just woken, unless somebody was faster or has it."""
        lease = settings.RUN_LEASE_SECONDS
        if self.accepting and await unit(leases.claim_run, run_id, self.owner, lease):
            await self._adopt(run_id)

    async def _adopt(self, run_id: str) -> None:
        """Load a run that is ours by its row, and let it go on."""
        try:
            taken = await unit(reopen, self._agents, run_id)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("run %s cannot be loaded", run_id)
            if await unit(lookups.losses_of, run_id) >= MAX_LOSSES:
                await unit(give_up, run_id)
            return
        ref = taken.opened.ref
        logger.info("run %s goes on here, attempt %d", ref.run_id, ref.attempt)
        self._launch(taken.opened, taken)
        if taken.opened.init is not None:
            self._journal.publish_committed(ref.session_id, taken.opened.init)

    async def close(self, grace: float) -> None:
        """Let live runs end, then hand the rest over."""
        self.accepting = False
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace)
        left = list(self._live)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await unit(leases.release_leases, self.owner, left)
        for task in tuple(self._beside):
            task.cancel()
        if self._beside:
            await asyncio.wait(tuple(self._beside))


async def _log_failure(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("a piece of work beside the runs failed")
