"""A sub-agent's driver: the same loop on rows of its own, told as events of its parent's run.

Law: what it says and does goes into the run's log inside `subagent_event`s, save what people
must see: questions and their answers. Its model calls are the run's, in tokens, cost and turns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from agentsite.engine import steps
from agentsite.engine.events import (
    AnyEvent,
    Approved,
    ChoiceAsked,
    ConfirmationRequired,
    CredentialSaved,
    Denied,
    Entry,
    SubagentReported,
    ToolEnded,
    UserAsked,
)
from agentsite.engine.machine import INTERRUPTED_TEXT, SUMMARY_TRIES
from agentsite.engine.messages import Message, ResultStatus, TextPart, ToolCallPart, ToolResultPart
from agentsite.engine.steps import RunState
from agentsite.host.assignments import Assignment
from agentsite.host.clock import new_id, now_ms, tell_time
from agentsite.host.conversation import Conversation, Persona
from agentsite.host.driver import Driver
from agentsite.host.journal import RunLog, Write
from agentsite.host.lifecycle import OpenTurn
from agentsite.host.recovery import UNKNOWN, is_repeatable
from agentsite.host.step import Step, Writer
from agentsite.host.wire import subagent_event
from agentsite.telemetry import spans
from agentsite.tools.base import ToolResult
from sessions_app import actions, interactions, subagents
from sessions_app.actions import NewCall
from sessions_app.history import Remembered
from sessions_app.interactions import GivenAnswer
from sessions_app.subagents import StoredSubagent

if TYPE_CHECKING:
    from agentsite.host.children import Children

FOR_PEOPLE = (ConfirmationRequired, UserAsked, ChoiceAsked, Approved, Denied, CredentialSaved)
OUT_OF_CALLS = (
    "Not carried out: this sub-agent may make {} tool calls, and has. Report what you have."
)
NO_TURNS = "The run has no model calls left for sub-agents."
NO_ANSWER = "(no response from sub-agent)"


class Words:
    """Words a sub-agent's events for the log of the run."""

    def __init__(self, journal: Writer, agent_id: str, name: str, call_id: str) -> None:
        self._journal = journal
        self._agent_id, self._name, self._call_id = agent_id, name, call_id

    def word(self, event: AnyEvent) -> AnyEvent:
        if isinstance(event, (SubagentReported, *FOR_PEOPLE)):
            return event
        return SubagentReported(self._agent_id, self._name, self._call_id, subagent_event(event))

    def report(self, **told: Any) -> SubagentReported:
        """Something that only a sub-agent has to say."""
        return SubagentReported(self._agent_id, self._name, self._call_id, told)

    def emit(self, run_log: RunLog, event: AnyEvent) -> Entry:
        return self._journal.emit(run_log, self.word(event))

    async def commit(
        self,
        run_log: RunLog,
        events: Sequence[AnyEvent],
        write: Write | None = None,
        at: int | None = None,
    ) -> Any:
        return await self._journal.commit(run_log, [*map(self.word, events)], write, at)

    def enqueue(
        self,
        run_log: RunLog,
        events: Sequence[AnyEvent],
        write: Write | None = None,
        at: int | None = None,
    ) -> asyncio.Future[Any]:
        return self._journal.enqueue(run_log, [*map(self.word, events)], write, at)

    async def make_room(self, run_log: RunLog) -> None:
        await self._journal.make_room(run_log)


Brood = Callable[[Driver, int], "Children"]


async def begin_child(
    parent: Driver, call: ToolCallPart, assignment: Assignment, children: Brood
) -> Child:
    """Write a new sub-agent, and tell clients of it."""
    own = parent.conversation.agent.block
    state = RunState(
        max_turns=assignment.max_turns,
        max_tool_repeats=own.max_tool_repeats,
        summary_failures=SUMMARY_TRIES,  # a context that overflows is cut, never summarised
    )
    agent_id, position = new_id("agent"), parent.log.last_seq + 1
    task = Message("user", (TextPart(f"{assignment.task}\n\n{tell_time(now_ms())}"),))
    said = (Remembered(position, task),)
    stored = StoredSubagent(
        agent_id, assignment.name, call.id, msgspec.to_builtins(assignment), state, said, (), 0.0
    )
    child = Child(parent, stored, children)
    event = child.words.report(type="init", task=assignment.task)

    def write() -> None:
        subagents.create_subagent(
            parent.ref, agent_id, call.id, assignment.name, stored.assignment, state, said
        )
        actions.advance_last_seq(parent.ref, position)

    await parent.root.journal.commit(parent.log, [event], write)
    return child


class Child(Driver):
    """Drives a sub-agent to its end, or until it waits for a person."""

    purpose = "subagent"
    manner = "beside"
    too_slow = "it did not finish within {:g} s"

    def __init__(self, parent: Driver, stored: StoredSubagent, children: Brood) -> None:
        self.id, self.call_id = stored.id, stored.call_id
        self.parent = parent
        self.assignment = msgspec.convert(stored.assignment, Assignment)
        self.subagent = stored.name
        self.words = Words(parent.root.journal, stored.id, stored.name, stored.call_id)
        self._seconds = stored.seconds_used
        self._since = time.monotonic()
        self._said = list(stored.said)
        self._made = len(stored.calls)
        """Calls that it has asked for."""
        self._reserved = 0
        turn = _open_turn(stored)
        super().__init__(
            _converse(parent, self.assignment, stored, turn),
            stored.state,
            self.words,
            parent.log,
            children=lambda driver: children(driver, self.assignment.levels),
            purse=parent.purse,
            begun=parent.begun,
        )
        self._unknown = _find_unknown(self.conversation, stored, turn)
        if turn is not None:
            self.calls.begin(turn.position, turn.calls, turn.results)
        begun = stored.state.turn or stored.state.phase != "thinking"
        self._first: tuple[steps.Incoming, ...] = (
            (_resume(stored, self._unknown),) if begun else (steps.Begun(),)
        )

    @property
    def root(self) -> Driver:
        return self.parent.root

    @property
    def has_news(self) -> bool:
        """An answer has come that it has not heard."""
        return not self._inbox.empty()

    @property
    def calls_left(self) -> float:
        return self.assignment.max_tool_calls - self._made

    # ---- its life --------------------------------------------------------------------

    async def live(self) -> bool:
        """Go on to the end (True), or until only a person can help."""
        first, self._first = self._first, ()
        self._since = time.monotonic()
        self.conversation.allow(self.assignment.timeout - self._seconds)
        await self._greet(resumed=bool(first) and not isinstance(first[0], steps.Begun))
        with spans.invoking(self.subagent, self.ref.session_id, self.ref.run_id, self.ref.attempt):
            return await self._live(*first)

    async def _live(self, *first: steps.Incoming | GivenAnswer) -> bool:
        while self.state.phase != "done":
            self.over = False
            # What people have said meanwhile is heard after what it is told of itself.
            said = tuple(self._inbox.get_nowait() for _ in range(self._inbox.qsize()))
            await self.drive(*first, *said)
            if self._inbox.empty():
                break
            first = ()
        return self.state.phase == "done"

    async def _greet(self, *, resumed: bool) -> None:
        """After another attempt was lost: what nobody knows, and that text is told again."""
        if not resumed:
            return
        unknown, self._unknown = self._unknown, ()
        self.step.add(self.words.report(type="run_resumed", attempt=self.ref.attempt))
        for call in unknown:
            self.calls.settle_unrun(call.id, "interrupted", UNKNOWN, outcome_unknown=True)
        await self.commit()

    def report(self) -> ToolResult:
        """Its last word, for whoever dispatched it."""
        name, reason = self.assignment.name, self.state.reason
        said = [item.message.text for item in self._said if item.message.role == "assistant"]
        text = next((each for each in reversed(said) if each.strip()), "")
        if reason == "budget_exceeded" and self.state.turn == 0:
            cap = self.conversation.request.max_session_tokens
            why = f"session token budget ({cap}) already reached." if cap else NO_TURNS
            return ToolResult.fail(f"Sub-agent dispatch skipped: {why}")
        if reason in ("error", "budget_exceeded", "user_abort"):
            why = self.error["message"] if self.error else "its budget was used up"
            so_far = f"\nSo far it had said: {text}" if text else ""
            return ToolResult.fail(f'Sub-agent "{name}" failed: {why}{so_far}')
        if reason == "max_turns":
            text = f"{text}\n(It stopped after {self.state.max_turns} steps.)".lstrip()
        return ToolResult.of_text(text or NO_ANSWER)

    def close(self, parent: Driver) -> None:
        """Give every open call a result, in the step of the parent, which settles this one."""
        for call in self.calls.open():
            self.children.close(call.id)
            part = ToolResultPart(call.id, call.name, "interrupted", (TextPart(INTERRUPTED_TEXT),))
            ended = ToolEnded(
                call.id, call.name, ok=False, result=INTERRUPTED_TEXT, duration_ms=0,
                status=part.status,
            )  # fmt: skip
            parent.step.add(self.words.word(ended))
            parent.step.write(
                actions.settle_call, self.ref, call.id, part.status, part.content, 0, []
            )
            parent.step.write(interactions.withdraw_questions, self.ref, (call.id,))
        if self._answer is not None and self.state.phase == "streaming":
            parent.spend(self._answer.abandon(parent.step))

    # ---- what is its own way -----------------------------------------------------------

    def turns_in_use(self) -> int:
        """Model calls that it has made or is about to make, its own sub-agents' too."""
        return self.state.turn + self._reserved + self.children.turns_in_use()

    def measure(self) -> steps.Incoming:
        above: Driver = self
        while isinstance(above, Child):
            above = above.parent
            used = above.turns_in_use()
            if above.state.max_turns - used <= 1:  # the last one belongs to whoever dispatched
                return steps.Cancelled("budget_exceeded", NO_TURNS, "max_turns")
        told = self.conversation.measure(self.root.usage)
        if isinstance(told, steps.ContextReady):
            self._reserved = 1
        return told

    def _call_model(self, turn: int) -> None:
        self._reserved = 0
        super()._call_model(turn)

    async def _start_calls(self, call_ids: tuple[str, ...]) -> None:
        limit = self.assignment.max_tool_calls
        asked = [call.id for call in self.calls.pick(call_ids)]
        first = self._made - self.calls.size
        beyond = tuple(id for id in asked if first + self.calls.place(id) >= limit)
        for call_id in beyond:
            self.calls.settle_unrun(call_id, "error", OUT_OF_CALLS.format(limit))
        await super()._start_calls(tuple(id for id in asked if id not in beyond))
        for call_id in beyond:
            self.post(steps.CallFinished(call_id, "error"))

    def keep(
        self,
        message: Message,
        position: int,
        at: int,
        *,
        partial: bool = False,
        calls: tuple[NewCall, ...] = (),
    ) -> None:
        """Its history is its own; its calls stand in the journal of all calls."""
        self._said.append(Remembered(position, message))
        if calls:
            self.step.write(subagents.record_calls, self.ref, self.id, calls, self._made, at)
            self._made += len(calls)
        self.conversation.append(position, message)

    def _finish(self) -> None:
        reason = self.state.reason
        result = self.report()
        event = self.words.report(type="done", reason=reason, text=result.text, ok=not result.error)
        self.step.add(event)

    async def commit(self) -> None:
        """Commit what the step holds, with where it leads to."""
        step = self.step
        if not step and not self.over:
            return
        last_seq = step.next_seq - 1
        used = self._seconds + time.monotonic() - self._since
        if self.over:
            self._seconds = used
        said = tuple(self._said)
        step.write(subagents.save_subagent, self.ref, self.id, self.state, said, used)
        step.write(actions.advance_last_seq, self.ref, last_seq)
        self.step = Step(self.journal, self.log)
        await step.commit()
        self.purse.look()


def _open_turn(stored: StoredSubagent) -> OpenTurn | None:
    """The turn whose calls its state holds, with the results that are there."""
    ids = {call.id for call in stored.state.calls}
    if not ids:
        return None
    item = next(item for item in stored.said if ids & {c.id for c in item.message.tool_calls})
    results = tuple(
        call.result for call in stored.calls if call.id in ids and call.result is not None
    )
    return OpenTurn(item.position, item.message.tool_calls, results)


def _converse(
    parent: Driver, assignment: Assignment, stored: StoredSubagent, turn: OpenTurn | None
) -> Conversation:
    above = parent.conversation
    agent = above.agent
    offered = above.offered
    tools = {name: offered[name] for name in assignment.tools if name in offered}
    return Conversation(
        agent=agent,
        session_id=above.session_id,
        run_id=above.run_id,
        scope_id=above.scope_id,
        request=msgspec.structs.replace(above.request, tier=assignment.tier, pinned=None),
        history=_recall(stored, turn),
        images={},
        session_usage=above.session_usage,
        assistant_messages=sum(item.message.role == "assistant" for item in stored.said),
        message_ids=(),
        seconds_used=stored.seconds_used,
        persona=Persona(assignment.system, tools, assignment.timeout, above),
    )


def _recall(stored: StoredSubagent, turn: OpenTurn | None) -> tuple[Remembered, ...]:
    """Its history; results of a turn in hand come when they are all there."""
    results = {call.id: call.result for call in stored.calls}
    history: list[Remembered] = []
    for item in stored.said:
        history.append(item)
        calls = item.message.tool_calls
        if not calls or (turn is not None and item.position == turn.position):
            continue
        found = tuple(part for call in calls if (part := results.get(call.id)) is not None)
        history.append(Remembered(item.position, Message("tool", found)))
    return tuple(history)


def _find_unknown(
    conversation: Conversation, stored: StoredSubagent, turn: OpenTurn | None
) -> tuple[ToolCallPart, ...]:
    """Calls that were under way when an attempt was lost, and must not be made again."""
    under_way = {call.id for call in stored.calls if call.status == "running"}
    return tuple(
        call
        for call in (turn.calls if turn is not None else ())
        if call.id in under_way and not is_repeatable(conversation.tools, call)
    )


def _resume(stored: StoredSubagent, unknown: tuple[ToolCallPart, ...]) -> steps.Resumed:
    found: dict[str, ResultStatus] = {
        call.id: call.result.status for call in stored.calls if call.result is not None
    }
    still_open = {call.id for call in stored.state.calls if call.open}
    stop = any(call.stops for call in stored.calls if call.id in still_open)
    return steps.Resumed({**found, **{call.id: "interrupted" for call in unknown}}, stop=stop)
