"""One run's driver: performs what the machine wants and feeds back what came of it.

Law: the machine decides, the driver does. Rows and events of one step go into one
commit; work that must be known to have begun starts after it. No database
connection is held while a model, a tool or a person is awaited.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never

from agentsite.connections.caller import Caller
from agentsite.engine import steps
from agentsite.engine.deltas import Usage
from agentsite.engine.events import (
    AnyEvent,
    CompactionEnded,
    Done,
    Failed,
    MessagesRemoved,
    TextStreamed,
    UserJoined,
)
from agentsite.engine.machine import REPEAT_HINT, advance
from agentsite.engine.messages import Message, TextPart
from agentsite.engine.ports import Purpose
from agentsite.engine.steps import RunState
from agentsite.engine.transcript import user_to_api
from agentsite.host import questions
from agentsite.host.answer import Answer
from agentsite.host.calls import Calls
from agentsite.host.compaction import Summary, compact
from agentsite.host.conversation import Conversation
from agentsite.host.journal import RunLog
from agentsite.host.patience import log_failure
from agentsite.host.purse import Manner, Purse, record_calls
from agentsite.host.steering import absorb_steering
from agentsite.host.step import Step, Writer
from agentsite.host.telling import tell_of_repeats
from agentsite.host.work import Work
from agentsite.operations import budgets
from agentsite.providers.ceiling import Known
from sessions_app import actions, interactions, leases
from sessions_app.actions import NewCall, RunRef
from sessions_app.interactions import GivenAnswer
from sessions_app.metering import FinishedCall

if TYPE_CHECKING:
    from agentsite.host.children import Children


class Driver:
    """Drives one attempt of one run to its end, or until it is parked or lost."""

    purpose: Purpose = "main"
    """What its model calls are metered as."""
    manner: Manner = "main"
    subagent = ""
    """Its name, when it is one."""
    too_slow = "The run took longer than {:g} seconds."

    def __init__(
        self,
        conversation: Conversation,
        state: RunState,
        journal: Writer,
        run_log: RunLog,
        *,
        children: Callable[[Driver], Children],
        purse: Purse,
        begun: asyncio.Event,
        usage: Usage = Usage(),  # noqa: B008 - an immutable value
        cost_micros: int | None = 0,
    ) -> None:
        self.conversation = conversation
        self.state = state
        self.journal = journal
        self.log = run_log
        self.usage = usage
        """Tokens of this run so far, earlier attempts included."""
        self.cost_micros = cost_micros
        """Micro-dollars of this run; None as soon as one price is unknown."""
        self.purse = purse
        self.known: Known | None = None
        """The last request that a vendor has counted."""
        self.step = Step(journal, run_log)
        self.calls = Calls(self)
        self.children = children(self)
        self.summary: Summary | None = None
        self.error: dict[str, Any] | None = None
        self._answer: Answer | None = None
        self._inbox: asyncio.Queue[steps.Incoming | GivenAnswer] = asyncio.Queue()
        self._work = Work(self)
        self.begun = begun
        """Its beginning is durable: what it says may leave and be written."""
        self.steered = False
        """Messages wait to join at the next turn boundary."""
        self.rolled_back = False
        """The run and its messages are to be removed when it ends."""
        self.handed_over = False
        """Its process stops: what did not end is for the next attempt to judge."""
        self.over = False
        """It is being parked, or was: nothing is driven any more."""
        self.titles: list[int] = []
        """Signals whose title was announced since the last step."""

    @property
    def caller(self) -> Caller:
        """For whom calls are made; a sub-agent's are at one remove."""
        caller = replace(self.conversation.caller, planning=self.root.state.planning)
        return caller.delegate() if self.purpose == "subagent" else caller

    @property
    def ref(self) -> RunRef:
        return self.log.ref

    @property
    def root(self) -> Driver:
        """Who drives the run itself."""
        return self

    @property
    def calls_left(self) -> float:
        """Tool calls that may still be made."""
        return math.inf

    def turns_in_use(self) -> int:
        """Model calls that were made or are about to be, those of sub-agents included."""
        return self.state.turn + self.children.turns_in_use()

    # ---- what its parts need -------------------------------------------------------

    def post(self, incoming: steps.Incoming | GivenAnswer) -> None:
        """Tell the machine something; from the event loop's thread."""
        self._inbox.put_nowait(incoming)

    def emit(self, event: AnyEvent) -> Any:
        """Send text at once; returns its log entry."""
        return self.journal.emit(self.log, event)

    def announce(self, events: Sequence[AnyEvent]) -> None:
        """Commit events outside a step, then send them; in order with all others."""
        self.journal.enqueue(self.log, events)

    async def make_room(self) -> None:
        await self.journal.make_room(self.log)

    def spend(self, rows: Sequence[FinishedCall]) -> None:
        """Meter model calls with the next commit, and add them to the run's sums."""
        if rows:
            self.root.tally(rows)
            self.step.write(record_calls, self.ref, tuple(rows))
            self.purse.note()

    def tally(self, rows: Sequence[FinishedCall]) -> None:
        """Add to the run's sums."""
        for row in rows:
            self.usage += row.usage
            if row.cost_micros is None or self.cost_micros is None:
                self.cost_micros = None
            else:
                self.cost_micros += row.cost_micros

    # ---- the loop --------------------------------------------------------------------

    async def drive(self, *first: steps.Incoming | GivenAnswer) -> RunState:
        """Go on from `first`; returns the last state, done or parked. Raises `LeaseLost`."""
        seconds = self.conversation.persona.seconds
        timed_out = steps.Cancelled("error", self.too_slow.format(seconds), "run_timeout")
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.conversation.seconds_left(), self.post, timed_out)
        for told in first:
            self.post(told)
        try:
            while self.state.phase != "done" and not self.over:
                incoming = await self._next()
                if incoming is None:
                    self._park()
                else:
                    self.state, effects = advance(self.state, incoming)
                    for effect in effects:
                        await self._perform(effect)
                await self.commit()
            return self.state
        finally:
            timer.cancel()
            await self._work.stop()

    async def _next(self) -> steps.Incoming | None:
        """What comes in next; None when only a person could say it."""
        while self.state.phase != "confirming" or not self._inbox.empty():
            posted = await self._inbox.get()
            incoming = self._take(posted) if isinstance(posted, GivenAnswer) else posted
            if incoming is not None and not self._is_late(incoming):
                return incoming
        asked = self._first_asked()
        if asked is not None and self.conversation.request.alone:
            return steps.Answered(asked, approved=False, absent=True)
        return None

    def _first_asked(self) -> str | None:
        return next((call.id for call in self.state.calls if call.status == "asked"), None)

    def _take(self, given: GivenAnswer) -> steps.Incoming | None:
        """Hear an answer: what it means for the machine, if it is not a sub-agent's."""
        if self.children.asked(given.call_id):
            return self.children.take(given)
        return questions.take_answer(self, given)

    def asked(self) -> list[str]:
        """Calls that wait for a person, those of sub-agents included."""
        own = [call.id for call in self.state.calls if call.status == "asked"]
        return own + self.children.list_asked()

    def _is_late(self, incoming: steps.Incoming) -> bool:
        """Tell word of a call whose turn is over: it was stopped while it ended."""
        if isinstance(incoming, steps.ChildWaits | steps.ChildWoken):
            return not self.children.is_news(incoming)
        if isinstance(incoming, steps.CallFinished | steps.ConfirmationNeeded):
            return not any(call.id == incoming.call_id and call.open for call in self.state.calls)
        return False

    async def _perform(self, effect: steps.Effect) -> None:  # noqa: C901 - one case per effect
        match effect:
            case steps.Emit(event):
                self._add(event)
            case steps.Prepare():
                await self.commit()
                await absorb_steering(self)
                await self.commit()
                self.post(self.measure())
            case steps.CallModel(turn):
                await self.commit()
                self._call_model(turn)
            case steps.RecordTurn(partial):
                self._record_turn(partial)
            case steps.StartCalls(call_ids):
                await self._start_calls(call_ids)
            case steps.Dispatch(call_ids):
                await self._dispatch(call_ids)
            case steps.SettleCalls(call_ids, status, text):
                for call_id in call_ids:
                    self.children.close(call_id)
                    self.calls.settle_unrun(call_id, status, text)
                self.step.write(interactions.withdraw_questions, self.ref, call_ids)
            case steps.AskPerson(call_ids):
                if not self.conversation.request.alone:  # else it is denied in its turn
                    questions.ask(self, call_ids)
            case steps.Park():
                denied = self.conversation.request.alone and self._first_asked() is not None
                if self._inbox.empty() and not denied:
                    self._park()  # else the loop parks when all that waits is heard
            case steps.Compact():
                await self.commit()
                self._work.start(compact(self))
            case steps.CutWindow():
                self.conversation.cut = True
                before = self.conversation.last_estimate
                self.post(steps.Compacted(before, self.conversation.threshold, 0, fits=True))
            case steps.Say(text):
                self._say(text)
            case steps.Hint(text):
                self.conversation.hint = text
                if text == REPEAT_HINT:
                    self._work.start(log_failure(tell_of_repeats(self.ref, self.conversation)))
            case steps.StopWork():
                await self._work.stop()
            case steps.Finish():
                self._finish()
            case _:
                assert_never(effect)

    def _add(self, event: AnyEvent) -> None:
        seq = self.step.add(event)
        if isinstance(event, Failed):
            self.error = {"code": event.code, "message": event.message, "at": self.step.at}
        if isinstance(event, CompactionEnded) and self.summary is not None:
            self.summary.record(self, seq)
            self.summary = None

    def measure(self) -> steps.Incoming:
        """Whether the next request may be made."""
        return self.conversation.measure(self.usage)

    def _call_model(self, turn: int) -> None:
        request = self.conversation.next_request
        if request is None:
            raise RuntimeError("CallModel before the context was measured")
        self.conversation.hint = ""
        self._answer = Answer(self, turn, request)
        self._work.start(self._answer.stream())

    def _record_turn(self, partial: bool) -> None:
        if self._answer is not None:
            message = self._answer.record(partial=partial)
            if message is not None and message[1].tool_calls:
                self.calls.begin(message[0], message[1].tool_calls, ())

    async def _dispatch(self, call_ids: tuple[str, ...]) -> None:
        for call in self.calls.pick(await self._begin_calls(call_ids, call_ids)):
            self._work.start(self.children.run(call))

    async def _start_calls(self, call_ids: tuple[str, ...]) -> None:
        first = self.calls.first_of(call_ids)  # the others begin when their turn comes
        self._work.start(self.calls.run(await self._begin_calls(call_ids, first)))

    async def _begin_calls(
        self, call_ids: tuple[str, ...], first: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Write the intent of the first of these calls; those that may be made at all."""
        changed = await questions.find_changed(self, call_ids)
        for call_id in changed:
            self.calls.settle_unrun(call_id, "error", questions.CHANGED)
        self.calls.intend(tuple(call_id for call_id in first if call_id not in changed))
        await self.commit()
        for call_id in changed:
            self.post(steps.CallFinished(call_id, "error"))
        return tuple(call_id for call_id in call_ids if call_id not in changed)

    def join(self, message: Message) -> None:
        """Add a user message to the running loop, within the step."""
        at = self.step.at
        seq = self.step.add(
            UserJoined(user_to_api(message, at, self.ref.run_id, self.ref.session_id))
        )
        self.keep(message, seq, at)

    def _say(self, text: str) -> None:
        message = Message("assistant", (TextPart(text),), self.conversation.next_message_id())
        position = self.step.add(TextStreamed(text))
        self.keep(message, position, self.step.at)

    def keep(
        self,
        message: Message,
        position: int,
        at: int,
        *,
        partial: bool = False,
        calls: tuple[NewCall, ...] = (),
    ) -> None:
        """Add a message to the history, within the step."""
        self.step.write(
            actions.record_message,
            self.ref,
            message,
            position=position,
            at=at,
            partial=partial,
            calls=calls,
        )
        self.conversation.append(position, message)

    def _finish(self) -> None:
        reason = self.state.reason
        if reason is None:
            raise RuntimeError("a run cannot finish without a reason")
        if self.rolled_back:
            removed = self.conversation.message_ids_of_run()
            self.step.add(MessagesRemoved(self.ref.run_id, removed))
            self.step.write(actions.remove_messages, self.ref)
        self.step.add(Done(reason, self.usage, self.cost_micros, self.ref.run_id))

    async def commit(self) -> None:
        """Commit what the step holds, with the state that it leads to."""
        step, parking = self.step, self.over
        if not step and not parking:
            return
        await self.begun.wait()
        self.log.closing = parking
        last_seq = step.next_seq - 1
        if self.titles:
            step.write(leases.forget_signals, self.titles)
            self.titles = []
        if self.state.phase == "done":
            self.log.closing = True
            step.write(interactions.withdraw_questions, self.ref)
            step.write(actions.finish_run, self.ref, self.state, last_seq, self.error)
        elif parking:
            step.write(interactions.park_run, self.ref, self.state, last_seq, self.asked())
        else:
            step.write(actions.save_state, self.ref, self.state, last_seq)
        if self.purse.used and (parking or self.state.phase == "done"):
            step.write(budgets.release, self.ref.run_id)
        self.step = Step(self.journal, self.log)  # what comes from here on is not in this one
        await step.commit()
        self.purse.look()

    def _park(self) -> None:
        """Let go of the run with the next commit; it is a row until somebody answers."""
        self.over = True
