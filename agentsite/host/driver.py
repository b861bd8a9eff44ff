"""One run's driver: performs what the machine wants and feeds back what came of it.

Law: the machine decides, the driver does. Rows and events of one step go into one
commit; work that must be known to have begun starts after it. No database
connection is held while a model, a tool or a person is awaited.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, assert_never

from agentsite.engine import steps
from agentsite.engine.deltas import Usage
from agentsite.engine.events import (
    AnyEvent,
    CompactionEnded,
    Done,
    Failed,
    MessagesRemoved,
    TextStreamed,
    TitleChanged,
    UserJoined,
)
from agentsite.engine.machine import advance
from agentsite.engine.messages import Message, TextPart
from agentsite.engine.steps import RunState
from agentsite.engine.transcript import user_to_api
from agentsite.host import questions
from agentsite.host.answer import Answer
from agentsite.host.calls import Calls
from agentsite.host.compaction import Summary, compact
from agentsite.host.conversation import Conversation
from agentsite.host.journal import Journal, RunLog
from agentsite.host.lifecycle import load_images
from agentsite.host.step import Step
from agentsite.rows.units import unit
from sessions_app import actions, interactions, leases, queue
from sessions_app.actions import RunRef
from sessions_app.history import Remembered
from sessions_app.interactions import GivenAnswer
from sessions_app.metering import FinishedCall, record_model_call

logger = logging.getLogger(__name__)

FAULT = "Something went wrong on our side. The operators find the cause in the log under {run_id}."


class Driver:
    """Drives one attempt of one run to its end, or until it is parked or lost."""

    def __init__(
        self,
        conversation: Conversation,
        state: RunState,
        journal: Journal,
        run_log: RunLog,
        *,
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
        self.step = Step(journal, run_log)
        self.calls = Calls(self)
        self.summary: Summary | None = None
        self.error: dict[str, Any] | None = None
        self._answer: Answer | None = None
        self._inbox: asyncio.Queue[steps.Incoming | GivenAnswer] = asyncio.Queue()
        self._work: set[asyncio.Task[None]] = set()
        self.steered = False
        """Messages wait to join at the next turn boundary."""
        self.rolled_back = False
        """The run and its messages are to be removed when it ends."""
        self._titles: list[int] = []
        """Signals whose title was announced since the last step."""

    @property
    def ref(self) -> RunRef:
        return self.log.ref

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

    def announce_title(self, signal_id: int, title: str) -> None:
        """Tell clients a title; the signal is forgotten with the next step, which covers it."""
        # Behind the run's last event nothing follows: the title is announced beside the runs.
        if signal_id not in self._titles and not self.log.closing:
            self._titles.append(signal_id)
            if self.step:  # the numbers behind the last event are foreseen for it
                self.step.add(TitleChanged(title))
            else:
                self.announce([TitleChanged(title)])

    async def make_room(self) -> None:
        await self.journal.make_room(self.log)

    def spend(self, rows: Sequence[FinishedCall]) -> None:
        """Meter model calls with the next commit, and add them to the run's sums."""
        for row in rows:
            self.usage += row.usage
            if row.cost_micros is None or self.cost_micros is None:
                self.cost_micros = None
            else:
                self.cost_micros += row.cost_micros
            self.step.write(record_model_call, self.ref, row)

    # ---- the loop --------------------------------------------------------------------

    async def drive(self, *first: steps.Incoming | GivenAnswer) -> RunState:
        """Go on from `first`; returns the last state, done or parked. Raises `LeaseLost`."""
        seconds = self.conversation.agent.block.run_timeout
        timed_out = steps.Cancelled(
            "error", f"The run took longer than {seconds:g} seconds.", "run_timeout"
        )
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.conversation.seconds_left(), self.post, timed_out)
        for told in first:
            self.post(told)
        try:
            while self.state.phase != "done" and not self.log.closing:
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
            await self._stop_work()

    async def _next(self) -> steps.Incoming | None:
        """What comes in next; None when only a person could say it."""
        while self.state.phase != "confirming" or not self._inbox.empty():
            posted = await self._inbox.get()
            incoming = (
                questions.take_answer(self, posted) if isinstance(posted, GivenAnswer) else posted
            )
            if incoming is not None and not self._is_late(incoming):
                return incoming
        return None

    def _is_late(self, incoming: steps.Incoming) -> bool:
        """Tell word of a call whose turn is over: it was stopped while it ended."""
        if isinstance(incoming, steps.CallFinished | steps.ConfirmationNeeded):
            return not any(call.id == incoming.call_id and call.open for call in self.state.calls)
        return False

    async def _perform(self, effect: steps.Effect) -> None:  # noqa: C901 - one case per effect
        match effect:
            case steps.Emit(event):
                self._add(event)
            case steps.Prepare():
                await self.commit()
                await self._absorb()
                await self.commit()
                self.post(self.conversation.measure(self.usage))
            case steps.CallModel(turn):
                await self.commit()
                self._call_model(turn)
            case steps.RecordTurn(partial):
                self._record_turn(partial)
            case steps.StartCalls(call_ids) | steps.Dispatch(call_ids):
                await self._start_calls(call_ids)
            case steps.SettleCalls(call_ids, status, text):
                for call_id in call_ids:
                    self.calls.settle_unrun(call_id, status, text)
                self.step.write(interactions.withdraw_questions, self.ref, call_ids)
            case steps.AskPerson(call_ids):
                questions.ask(self, call_ids)
            case steps.Park():
                if self._inbox.empty():  # else the loop parks when all that waits is heard
                    self._park()
            case steps.Compact():
                await self.commit()
                self._start(compact(self))
            case steps.CutWindow():
                self.conversation.cut = True
                before = self.conversation.last_estimate
                self.post(steps.Compacted(before, self.conversation.threshold, 0, fits=True))
            case steps.Say(text):
                self._say(text)
            case steps.Hint(text):
                self.conversation.hint = text
            case steps.StopWork():
                await self._stop_work()
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

    def _call_model(self, turn: int) -> None:
        request = self.conversation.next_request
        if request is None:
            raise RuntimeError("CallModel before the context was measured")
        self.conversation.hint = ""
        self._answer = Answer(self, turn, request)
        self._start(self._answer.stream())

    def _record_turn(self, partial: bool) -> None:
        if self._answer is not None:
            message = self._answer.record(partial=partial)
            if message is not None and message[1].tool_calls:
                self.calls.begin(message[0], message[1].tool_calls, ())

    async def _start_calls(self, call_ids: tuple[str, ...]) -> None:
        changed = await questions.find_changed(self, call_ids)
        for call_id in changed:
            self.calls.settle_unrun(call_id, "error", questions.CHANGED)
        self.step.write(actions.start_calls, self.ref, call_ids)
        await self.commit()
        for call_id in changed:
            self.post(steps.CallFinished(call_id, "error"))
        self._start(self.calls.run(tuple(i for i in call_ids if i not in changed)))

    async def _absorb(self) -> None:
        """Take steering messages into the loop, at a turn boundary."""
        if not self.steered:
            return
        self.steered = False
        session_id = self.ref.session_id
        waiting = await unit(queue.list_steering, session_id)
        said = tuple(Remembered(0, message) for _, message in waiting)
        self.conversation.add_images(await unit(load_images, session_id, said))
        for run_id, message in waiting:
            self.join(message)
            self.step.write(queue.absorb, run_id, self.ref.run_id)

    def join(self, message: Message) -> None:
        """Add a user message to the running loop, within the step."""
        at = self.step.at
        seq = self.step.add(
            UserJoined(user_to_api(message, at, self.ref.run_id, self.ref.session_id))
        )
        self.step.write(actions.record_message, self.ref, message, position=seq, at=at)
        self.conversation.append(seq, message)

    def _say(self, text: str) -> None:
        message = Message("assistant", (TextPart(text),), self.conversation.next_message_id())
        position = self.step.add(TextStreamed(text))
        self.step.write(
            actions.record_message, self.ref, message, position=position, at=self.step.at
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
        step, parking = self.step, self.log.closing
        if not step and not parking:
            return
        last_seq = step.next_seq - 1
        if self._titles:
            step.write(leases.forget_signals, self._titles)
            self._titles = []
        if self.state.phase == "done":
            self.log.closing = True
            step.write(interactions.withdraw_questions, self.ref)
            step.write(actions.finish_run, self.ref, self.state, last_seq, self.error)
        elif parking:
            step.write(interactions.park_run, self.ref, self.state, last_seq)
        else:
            step.write(actions.save_state, self.ref, self.state, last_seq)
        self.step = Step(self.journal, self.log)  # what comes from here on is not in this one
        await step.commit()

    def _park(self) -> None:
        """Let go of the run with the next commit; it is a row until somebody answers."""
        self.log.closing = True

    # ---- work beside the loop ----------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._watch(work), name=f"work {self.ref.run_id}")
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except actions.LeaseLost:
            self.post(steps.Cancelled("error"))  # the loop's next commit raises the same
        except Exception:
            logger.exception("run %s failed", self.ref.run_id)
            message = FAULT.format(run_id=self.ref.run_id)
            self.post(steps.Cancelled("error", message, "internal"))

    async def _stop_work(self) -> None:
        for task in tuple(self._work):
            task.cancel()
        if self._work:
            await asyncio.wait(tuple(self._work))
