"""Loading a run from its rows: fresh from the queue, woken by an answer, or taken over.

Law: a call with a result is never made again. One that was under way is made again
only if its tool is read-only or idempotent; of any other the model is told that
nobody knows. What clients saw of a lost attempt is discarded by `run_resumed`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import msgspec
from django.db import transaction

from agentsite.engine import steps
from agentsite.engine.deltas import Usage
from agentsite.engine.events import (
    AnyEvent,
    Done,
    Entry,
    Failed,
    MessagesRemoved,
    RunResumed,
    SubagentReported,
    TitleChanged,
    ToolEnded,
)
from agentsite.engine.machine import INTERRUPTED_TEXT
from agentsite.engine.messages import (
    Part,
    ResultStatus,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.steps import RunState
from agentsite.host.agents import Agent, ServedAgents
from agentsite.host.clock import now_ms
from agentsite.host.conversation import RunRequest
from agentsite.host.lifecycle import OpenedRun, OpenTurn, load_images
from agentsite.host.memory_context import Recall, recall
from agentsite.host.replay import choose_model, load_persona
from agentsite.host.wire import subagent_event
from agentsite.operations.alerts import poisoned_run, raise_once
from agentsite.operations.budgets import forfeit
from agentsite.operations.pins import list_accepted
from agentsite.tools.base import Tool
from agentsite.tools.plan_mode import plans_after
from sessions_app import log, queue
from sessions_app.actions import (
    LeaseLost,
    RunRef,
    advance_last_seq,
    finish_run,
    remove_messages,
    settle_call,
)
from sessions_app.history import load_history, result_part
from sessions_app.interactions import GivenAnswer, answers_for, withdraw_questions
from sessions_app.late import tell_late
from sessions_app.leases import WaitingTitle, find_waiting_title
from sessions_app.models import Message, Run, Subagent, ToolCall
from sessions_app.scopes import read_sealed
from sessions_app.subagents import StoredSubagent, load_subagents

MAX_LOSSES = 3
UNKNOWN = (
    "The outcome of this call is unknown: it was under way when the server was interrupted, and it "
    "was not repeated. Check whether it took effect before you try again."
)
POISONED = (
    "The run was ended: every server process that worked on it broke off. "
    "The operators find it among the failed runs."
)
UNWRITABLE = (
    "The run was ended: what it was about to keep cannot be stored. "
    "The operators find the reason in the server's log."
)
NOT_RECOVERED = "The run was interrupted with its server; this agent does not resume runs."


class TakenRun(msgspec.Struct, frozen=True):
    """A run that this process has claimed, and how it goes on."""

    opened: OpenedRun
    greeting: tuple[AnyEvent, ...]
    """Committed before anything else."""
    unknown: tuple[ToolCallPart, ...]
    """Calls that get the result "outcome unknown"."""
    first: tuple[steps.Incoming | GivenAnswer, ...]
    rollback: bool
    steered: bool = False
    """Messages wait to join it; the word of it went to the attempt that was lost."""
    title: WaitingTitle | None = None
    """Announced with the greeting: the lost attempt may have, in what is discarded."""

    def write(self) -> None:
        """The rows that go with the greeting."""
        for call in self.unknown:
            settle_unknown(self.opened.ref, call.id)
        if self.title is not None:
            self.title.write(self.opened.ref.session_id)
        # What the rows now say must count for clients too, should this attempt be lost as well.
        advance_last_seq(self.opened.ref, self.opened.last_seq + len(self.greeting))


class GivenUp(msgspec.Struct, frozen=True):
    """A run that was ended instead of loaded: every process that worked on it broke off."""

    ref: RunRef
    automation: bool
    """It is an automation's."""


def reopen(agents: ServedAgents, run_id: str, owner: str) -> TakenRun | GivenUp:
    """Load a run that was claimed. Synchronous: for `unit`.

    After `MAX_LOSSES` not even loading is tried, which may be what its processes died of.
    Raises `LeaseLost` when another process has claimed it meanwhile (this one stood still).
    """
    with transaction.atomic():
        # Whoever takes it over waits, so that two can never believe in the same attempt.
        held = Run.objects.select_for_update(of=("self",), no_key=True).select_related("session")
        row = held.filter(pk=run_id, owner=owner, status=Run.Status.RUNNING).first()
        if row is None:
            raise LeaseLost(run_id)
        if row.attempt > 1:
            forfeit(row.pk, row.attempt)
        if row.losses >= MAX_LOSSES:
            return _give_up(row)
        return _load_taken(agents, row)


def _give_up(row: Run) -> GivenUp:
    raise_once(poisoned_run(row.pk, row.agent, row.scope_id))
    return GivenUp(_end(row, "poisoned", POISONED), bool(row.request.get("automation")))


def _load_taken(agents: ServedAgents, row: Run) -> TakenRun:
    agent = agents.current(row.agent)
    state = msgspec.convert(row.state, RunState)
    if state.turn == 0:  # a repeated run begins as its agent's runs do
        required = agent.block.plan_mode == "required"
        state = msgspec.structs.replace(state, planning=required)
    last_seq = row.session.reserved_seq
    ref = RunRef(row.pk, row.attempt, row.session_id, row.scope_id)
    request = msgspec.convert(row.request, RunRequest)
    memory, persona, problem = Recall(), None, ""
    if request.replay is None:
        if state.turn == 0:
            tell_late(ref, row.first_seq)
        memory = recall(agent, ref, row.first_seq, starting=state.turn == 0, admin=request.admin)
    else:
        persona = load_persona(agent, request, request.replay)
        request, problem = choose_model(agent, request, request.replay)
    history = load_history(row.session_id)
    turn, settled, unknown, stop = _open_turn(agent, row, state)
    for result in turn.results if turn is not None else ():  # settled, the state not yet saved
        plans = plans_after(result.name, ok=result.status == "ok")
        state = state if plans is None else msgspec.structs.replace(state, planning=plans)
    stored = load_subagents(row.pk)
    if turn is not None:  # its results come when they are all there
        history = tuple(
            item
            for item in history
            if not (item.message.role == "tool" and item.position == turn.position)
        )
    now = dt.datetime.now(dt.UTC)
    opened = OpenedRun(
        agent=agent,
        ref=ref,
        last_seq=last_seq,
        block_end=log.reserve(row.pk, row.attempt),
        state=state,
        request=request,
        history=history,
        images=load_images(row.session_id, history),
        session_usage=_subtract(row.session.metered, row.metered),
        message_ids=tuple(row.messages.values_list("pk", flat=True)),
        seconds_used=max(0.0, (now - row.created_at).total_seconds() - row.parked_seconds),
        assistant_messages=row.messages.filter(role="assistant").count(),
        spent=row.metered,
        spent_micros=row.cost_micros if row.cost_known else None,
        turn=turn,
        memory=memory.section,
        sealed=read_sealed(row.agent, row.scope_id),
        subagents=stored,
        persona=persona,
    )
    greeting: list[AnyEvent] = []
    if last_seq != row.last_seq:  # numbers were given out that may have been sent and lost
        greeting.append(RunResumed(row.attempt, row.last_seq))
    title = find_waiting_title(row.pk)
    greeting += [TitleChanged(title.title)] if title is not None else []
    greeting += [
        ToolEnded(call.id, call.name, ok=False, result=UNKNOWN, duration_ms=0, status="interrupted")
        for call in unknown
    ]
    resumed = steps.Resumed(settled, _count_turns(state, settled, stored), stop)
    first = _first(agent, row, state, resumed, stored)
    if problem:
        first = (steps.Cancelled("error", problem, "invalid_replay"),)
    steered = row.attempt > 1 and queue.is_steered(row.session_id)
    if steered:
        first = (*first, steps.Joined())
    greeted = tuple(greeting)
    return TakenRun(opened, greeted, unknown, first, row.rollback_requested, steered, title)


def settle_unknown(ref: RunRef, call_id: str) -> None:
    """Write that nobody knows what a call came to, findable for operators."""
    told = (TextPart(UNKNOWN),)
    settle_call(ref, call_id, "interrupted", told, 0, [], outcome_unknown=True)


def word_for(subagent: Subagent | None, event: AnyEvent) -> AnyEvent:
    """An event as the log has it, of the run itself or of one of its sub-agents."""
    if subagent is None:
        return event
    told = subagent_event(event)
    return SubagentReported(subagent.pk, subagent.name, subagent.call_id, told)


def end_refused(ref: RunRef, owner: str) -> bool:
    """End a run of ours whose rows the database refuses; False when it is not ours any more.

    Another attempt would write the same again. Synchronous: for `unit`.
    """
    with transaction.atomic():
        held = Run.objects.select_for_update(of=("self",), no_key=True).select_related("session")
        ours = held.filter(pk=ref.run_id, attempt=ref.attempt, owner=owner)
        row = ours.filter(status=Run.Status.RUNNING).first()
        if row is not None:
            _end(row, "unwritable", UNWRITABLE)
    return row is not None


def _end(row: Run, code: str, text: str) -> RunRef:
    """What clients saw of it since its last step is discarded; calls under way are unknown."""
    run_id, ref = row.pk, RunRef(row.pk, row.attempt, row.session_id, row.scope_id)
    state = RunState(phase="done", reason="error", turn=row.turns)
    cost = row.cost_micros if row.cost_known else None
    open_calls = ToolCall.objects.filter(run_id=run_id, status__in=("held", "running"))
    events: list[AnyEvent] = [RunResumed(row.attempt, row.last_seq)]
    for call in open_calls.select_related("subagent"):
        if call.status == ToolCall.Status.HELD:  # it surely never began
            told = INTERRUPTED_TEXT
            settle_call(ref, call.pk, "interrupted", (TextPart(told),), 0, [])
        else:
            told = UNKNOWN
            settle_unknown(ref, call.pk)
        ended = ToolEnded(call.pk, call.name, False, told, 0, status="interrupted")
        events.append(word_for(call.subagent, ended))
    title = find_waiting_title(run_id)
    if title is not None:
        events.append(TitleChanged(title.title))
        title.write(ref.session_id)
    if row.rollback_requested:
        removed = tuple(row.messages.values_list("pk", flat=True))
        events.append(MessagesRemoved(run_id, removed))
        remove_messages(ref)
    events += [Failed(text, code), Done("error", row.metered, cost, run_id)]
    at, seq = now_ms(), row.session.reserved_seq
    entries = tuple(Entry(seq + n, at, event) for n, event in enumerate(events, start=1))
    log.append([log.Stretch(ref.session_id, run_id, ref.attempt, ref.scope_id, entries)])
    withdraw_questions(ref)
    finish_run(ref, state, entries[-1].seq, {"code": code, "message": text, "at": at})
    return ref


def _first(
    agent: Agent,
    row: Run,
    state: RunState,
    resumed: steps.Resumed,
    stored: dict[str, StoredSubagent],
) -> tuple[steps.Incoming | GivenAnswer, ...]:
    """What the machine is told first."""
    if row.cancel_requested_at is not None:
        return (steps.Cancelled("user_abort"),)
    if row.losses and agent.block.recovery == "fail":
        return (steps.Cancelled("error", NOT_RECOVERED, "interrupted"),)
    if row.attempt == 1 and state.turn == 0:
        return (steps.Begun(),)
    states = [state, *(subagent.state for subagent in stored.values())]
    asked = [call.id for each in states for call in each.calls if call.status == "asked"]
    answers = tuple(answers_for(row.pk, asked))
    if state.phase == "confirming" and answers:
        return answers
    return (resumed, *answers)


def _count_turns(
    state: RunState, settled: dict[str, ResultStatus], stored: dict[str, StoredSubagent]
) -> int:
    """Model calls of sub-agents whose result is known, and not yet to the machine."""
    return sum(
        stored[call.id].state.turn
        for call in state.calls
        if call.open and call.id in settled and call.id in stored
    )


def _open_turn(
    agent: Agent, row: Run, state: RunState
) -> tuple[OpenTurn | None, dict[str, ResultStatus], tuple[ToolCallPart, ...], bool]:
    """The turn whose calls the state holds: what is settled, what is unknown, who wished to stop.

    The last is true where a result came with the wish and died before the state knew of it.
    """
    if not state.calls:
        return None, {}, (), False
    calls = list(
        ToolCall.objects.filter(pk__in=[call.id for call in state.calls]).order_by("position")
    )
    message = Message.objects.get(pk=calls[0].message_id)
    parts = msgspec.convert(message.parts, tuple[Part, ...])
    by_id = {part.id: part for part in parts if isinstance(part, ToolCallPart)}
    accepted = list_accepted(agent.id) if agent.bundle.mcp_servers else {}
    tools = agent.offer(admin=True, accepted=accepted).tools
    results: list[ToolResultPart] = []
    settled: dict[str, ResultStatus] = {}
    unknown: list[ToolCallPart] = []
    for call in calls:
        if call.status == ToolCall.Status.HELD:
            continue
        if call.status != ToolCall.Status.RUNNING:
            result = result_part(call)
        elif is_repeatable(tools, by_id[call.pk]):
            continue
        else:
            unknown.append(by_id[call.pk])
            result = ToolResultPart(call.pk, call.name, "interrupted", (TextPart(UNKNOWN),))
        results.append(result)
        settled[call.pk] = result.status
    turn = OpenTurn(message.position, tuple(by_id.values()), tuple(results))
    still_open = {call.id for call in state.calls if call.open}
    stop = any(call.stops for call in calls if call.pk in still_open)
    return turn, settled, tuple(unknown), stop


def is_repeatable(tools: Mapping[str, Tool], call: ToolCallPart) -> bool:
    """Whether a call may be made again; a sub-agent goes on where it stood."""
    tool = tools.get(call.name)
    if tool is None:
        return False
    return tool.read_only or tool.dispatch or tool.may_retry(call.arguments)


def _subtract(total: Usage, part: Usage) -> Usage:
    pairs = zip(msgspec.structs.astuple(total), msgspec.structs.astuple(part), strict=True)
    return Usage(*(max(0, whole - mine) for whole, mine in pairs))
