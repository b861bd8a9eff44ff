"""Loading a run from its rows: fresh from the queue, woken by an answer, or taken over.

Law: a call with a result is never made again. One that was under way is made again
only if its tool is read-only or idempotent; of any other the model is told that
nobody knows. What clients saw of a lost attempt is discarded by `run_resumed`.
"""

from __future__ import annotations

import datetime as dt

import msgspec
from django.db import transaction

from agentsite.engine import steps
from agentsite.engine.deltas import Usage
from agentsite.engine.events import AnyEvent, Done, Entry, Failed, RunResumed, ToolEnded
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
from agentsite.host.memory_context import recall
from sessions_app import log
from sessions_app.actions import RunRef, advance_last_seq, finish_run, settle_call
from sessions_app.history import load_history, result_part
from sessions_app.interactions import GivenAnswer, answers_for, withdraw_questions
from sessions_app.models import Message, Run, ToolCall

MAX_LOSSES = 3
UNKNOWN = (
    "The outcome of this call is unknown: it was under way when the server was interrupted, and it "
    "was not repeated. Check whether it took effect before you try again."
)
POISONED = (
    "The run was ended: every server process that worked on it broke off. "
    "The operators find it among the failed runs."
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

    def write(self) -> None:
        """The rows that go with the greeting."""
        for call in self.unknown:
            settle_call(self.opened.ref, call.id, "interrupted", (TextPart(UNKNOWN),), 0, [])
        # What the rows now say must count for clients too, should this attempt be lost as well.
        advance_last_seq(self.opened.ref, self.opened.last_seq + len(self.greeting))


def reopen(agents: ServedAgents, run_id: str) -> TakenRun:
    """Load a run that was claimed. Synchronous: for `unit`."""
    row = Run.objects.select_related("session").get(pk=run_id)
    agent = agents.current(row.agent)
    state = msgspec.convert(row.state, RunState)
    last_seq = row.session.reserved_seq
    ref = RunRef(row.pk, row.attempt, row.session_id, row.scope_id)
    memory = recall(agent, ref, row.first_seq, starting=state.turn == 0)
    history = load_history(row.session_id)
    turn, settled, unknown = _open_turn(agent, row, state)
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
        block_end=log.reserve(row.session_id),
        state=state,
        request=msgspec.convert(row.request, RunRequest),
        history=history,
        images=load_images(row.session_id, history),
        session_usage=_subtract(row.session.metered, row.metered),
        message_ids=tuple(row.messages.values_list("pk", flat=True)),
        seconds_used=(now - row.created_at).total_seconds() - row.parked_seconds,
        assistant_messages=row.messages.filter(role="assistant").count(),
        spent=row.metered,
        spent_micros=row.cost_micros if row.cost_known else None,
        turn=turn,
        memory=memory.section,
    )
    greeting: list[AnyEvent] = []
    if last_seq != row.last_seq:  # numbers were given out that may have been sent and lost
        greeting.append(RunResumed(row.attempt, row.last_seq))
    greeting += [
        ToolEnded(call.id, call.name, ok=False, result=UNKNOWN, duration_ms=0, status="interrupted")
        for call in unknown
    ]
    first = _first(agent, row, state, settled)
    return TakenRun(opened, tuple(greeting), unknown, first, row.rollback_requested)


def give_up(run_id: str) -> None:
    """End a run that cannot even be loaded any more. Synchronous: for `unit`."""
    with transaction.atomic():
        row = Run.objects.select_related("session").get(pk=run_id)
        ref = RunRef(row.pk, row.attempt, row.session_id, row.scope_id)
        state = RunState(phase="done", reason="error", turn=row.turns)
        cost = row.cost_micros if row.cost_known else None
        open_calls = ToolCall.objects.filter(run_id=run_id, status__in=("held", "running"))
        events: list[AnyEvent] = [RunResumed(row.attempt, row.last_seq)]
        for call in open_calls:
            settle_call(ref, call.pk, "interrupted", (TextPart(UNKNOWN),), 0, [])
            events.append(ToolEnded(call.pk, call.name, False, UNKNOWN, 0, status="interrupted"))
        events += [Failed(POISONED, "poisoned"), Done("error", row.metered, cost, run_id)]
        at, seq = now_ms(), row.session.reserved_seq
        entries = tuple(Entry(seq + n, at, event) for n, event in enumerate(events, start=1))
        log.append([log.Stretch(ref.session_id, run_id, ref.attempt, ref.scope_id, entries)])
        withdraw_questions(ref)
        error = {"code": "poisoned", "message": POISONED, "at": at}
        finish_run(ref, state, entries[-1].seq, error)


def _first(
    agent: Agent, row: Run, state: RunState, settled: dict[str, ResultStatus]
) -> tuple[steps.Incoming | GivenAnswer, ...]:
    """What the machine is told first."""
    if row.cancel_requested_at is not None:
        return (steps.Cancelled("user_abort"),)
    if row.losses >= MAX_LOSSES:
        return (steps.Cancelled("error", POISONED, "poisoned"),)
    if row.losses and agent.block.recovery == "fail":
        return (steps.Cancelled("error", NOT_RECOVERED, "interrupted"),)
    if row.attempt == 1 and state.turn == 0:
        return (steps.Begun(),)
    asked = [call.id for call in state.calls if call.status == "asked"]
    answers = tuple(answers_for(row.pk, asked))
    if state.phase == "confirming" and answers:
        return answers
    return (steps.Resumed(settled), *answers)


def _open_turn(
    agent: Agent, row: Run, state: RunState
) -> tuple[OpenTurn | None, dict[str, ResultStatus], tuple[ToolCallPart, ...]]:
    """The turn whose calls the state holds, what is settled of it, and what is unknown."""
    if not state.calls:
        return None, {}, ()
    calls = list(
        ToolCall.objects.filter(pk__in=[call.id for call in state.calls]).order_by("position")
    )
    message = Message.objects.get(pk=calls[0].message_id)
    parts = msgspec.convert(message.parts, tuple[Part, ...])
    by_id = {part.id: part for part in parts if isinstance(part, ToolCallPart)}
    results: list[ToolResultPart] = []
    settled: dict[str, ResultStatus] = {}
    unknown: list[ToolCallPart] = []
    for call in calls:
        if call.status == ToolCall.Status.HELD:
            continue
        if call.status != ToolCall.Status.RUNNING:
            result = result_part(call)
        elif _is_repeatable(agent, call.name):
            continue
        else:
            unknown.append(by_id[call.pk])
            result = ToolResultPart(call.pk, call.name, "interrupted", (TextPart(UNKNOWN),))
        results.append(result)
        settled[call.pk] = result.status
    turn = OpenTurn(message.position, tuple(by_id.values()), tuple(results))
    return turn, settled, tuple(unknown)


def _is_repeatable(agent: Agent, name: str) -> bool:
    tool = agent.tools.get(name)
    return tool is not None and (tool.read_only or tool.idempotent)


def _subtract(total: Usage, part: Usage) -> Usage:
    pairs = zip(msgspec.structs.astuple(total), msgspec.structs.astuple(part), strict=True)
    return Usage(*(max(0, whole - mine) for whole, mine in pairs))
