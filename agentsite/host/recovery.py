"""Taking over a run whose process is gone: what counts, what is repeated, what is unknown.

Law: a call with a result is never made again. One that was under way is made again
only if its tool is read-only or idempotent; of any other the model is told that
nobody knows. What clients saw of the lost attempt is discarded by `run_resumed`.
"""

from __future__ import annotations

import msgspec

from agentsite.engine.deltas import Usage
from agentsite.engine.events import AnyEvent, RunResumed, ToolEnded
from agentsite.engine.messages import (
    Part,
    ResultStatus,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.steps import RunState
from agentsite.host.agents import Agent, ServedAgents
from agentsite.host.conversation import RunRequest
from agentsite.host.lifecycle import OpenedRun, OpenTurn, load_images
from sessions_app import log
from sessions_app.actions import RunRef, settle_call
from sessions_app.history import load_history, result_part
from sessions_app.models import Message, Run, ToolCall

MAX_LOSSES = 3
UNKNOWN = (
    "The outcome of this call is unknown: it was under way when the server was interrupted, and it "
    "was not repeated. Check whether it took effect before you try again."
)


class TakenRun(msgspec.Struct, frozen=True):
    """A run that this process has taken over, and what must be committed first."""

    opened: OpenedRun
    greeting: tuple[AnyEvent, ...]
    unknown: tuple[ToolCallPart, ...]
    """Calls that get the result "outcome unknown"."""
    poisoned: bool
    """Too many processes have died with it: it must end."""

    def write(self) -> None:
        """The rows that go with the greeting."""
        for call in self.unknown:
            settle_call(self.opened.ref, call.id, "interrupted", (TextPart(UNKNOWN),), 0, [])


def reopen(agents: ServedAgents, run_id: str) -> TakenRun:
    """Load a run that was claimed. Synchronous: for `unit`."""
    row = Run.objects.select_related("session").get(pk=run_id)
    agent = agents.current(row.agent)
    ref = RunRef(row.pk, row.attempt, row.session_id, row.scope_id)
    last_seq = row.session.reserved_seq
    state = msgspec.convert(row.state, RunState)
    history = load_history(row.session_id)
    turn, settled, unknown = _open_turn(agent, row, state)
    if turn is not None:  # its results come when they are all there
        history = tuple(
            item
            for item in history
            if not (item.message.role == "tool" and item.position == turn.position)
        )
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
        started_at_ms=int(row.created_at.timestamp() * 1000),
        assistant_messages=row.messages.filter(role="assistant").count(),
        spent=row.metered,
        spent_micros=row.cost_micros if row.cost_known else None,
        settled=settled,
        turn=turn,
    )
    told: tuple[AnyEvent, ...] = tuple(
        ToolEnded(call.id, call.name, ok=False, result=UNKNOWN, duration_ms=0, status="interrupted")
        for call in unknown
    )
    greeting = (RunResumed(row.attempt, row.last_seq), *told)
    return TakenRun(opened, greeting, unknown, row.losses >= MAX_LOSSES)


def _open_turn(
    agent: Agent, row: Run, state: RunState
) -> tuple[OpenTurn | None, dict[str, ResultStatus], tuple[ToolCallPart, ...]]:
    if not any(call.open for call in state.calls):
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
        if call.status in (ToolCall.Status.HELD, ToolCall.Status.RUNNING):
            tool = agent.tools.get(call.name)
            repeatable = tool is not None and (tool.read_only or tool.idempotent)
            if call.status == ToolCall.Status.RUNNING and not repeatable:
                part = by_id[call.pk]
                unknown.append(part)
                results.append(
                    ToolResultPart(part.id, part.name, "interrupted", (TextPart(UNKNOWN),))
                )
                settled[call.pk] = "interrupted"
        else:
            results.append(result_part(call))
            settled[call.pk] = results[-1].status
    turn = OpenTurn(message.position, tuple(by_id.values()), tuple(results))
    return turn, settled, tuple(unknown)


def _subtract(total: Usage, part: Usage) -> Usage:
    return Usage(
        *(
            max(0, whole - mine)
            for whole, mine in zip(
                msgspec.structs.astuple(total), msgspec.structs.astuple(part), strict=True
            )
        )
    )
