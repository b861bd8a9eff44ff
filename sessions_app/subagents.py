"""Sub-agents as rows: begun, saved with each step, found again after a crash.

Law: a sub-agent belongs to its run and is written under the run's fence only. What it
says is history of its own; what it calls stands in the journal of all calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import Model

from agentsite.engine.messages import Message as HistoryMessage, ToolResultPart
from agentsite.engine.steps import RunState
from agentsite.rows.together import Together
from sessions_app.actions import LeaseLost, NewCall, RunRef
from sessions_app.history import Remembered, result_part
from sessions_app.models import Subagent, ToolCall

SETTLED = frozenset(("ok", "error", "denied", "interrupted", "expired"))


class StoredCall(msgspec.Struct, frozen=True):
    """A call that a sub-agent has asked for."""

    id: str
    status: str
    result: ToolResultPart | None
    """None until it has one."""
    stops: bool
    """With its result it wished for the end."""


class StoredSubagent(msgspec.Struct, frozen=True):
    """A sub-agent as its rows know it."""

    id: str
    name: str
    call_id: str
    assignment: dict[str, Any]
    state: RunState
    said: tuple[Remembered, ...]
    calls: tuple[StoredCall, ...]
    """All it ever asked for, in order."""
    seconds_used: float


def create_subagent(
    ref: RunRef,
    subagent_id: str,
    call_id: str,
    name: str,
    assignment: dict[str, Any],
    state: RunState,
    said: tuple[Remembered, ...],
) -> None:
    """Write a sub-agent before it begins."""
    Subagent.objects.create(
        id=subagent_id,
        session_id=ref.session_id,
        run_id=ref.run_id,
        call_id=call_id,
        attempt=ref.attempt,
        scope_id=ref.scope_id,
        name=name,
        assignment=assignment,
        state=msgspec.to_builtins(state),
        messages=_to_json(said),
    )


def save_subagent(
    ref: RunRef, subagent_id: str, state: RunState, said: tuple[Remembered, ...], seconds: float
) -> None:
    """Store where it stands. Raises `LeaseLost`."""
    updated = Subagent.objects.filter(pk=subagent_id, run_id=ref.run_id).update(
        attempt=ref.attempt,
        state=msgspec.to_builtins(state),
        messages=_to_json(said),
        seconds_used=seconds,
    )
    if not updated:
        raise LeaseLost(ref.run_id)


def _to_json(said: tuple[Remembered, ...]) -> list[Any]:
    return [[item.position, msgspec.to_builtins(item.message)] for item in said]


def record_calls(
    ref: RunRef, subagent_id: str, calls: tuple[NewCall, ...], first: int, at: int
) -> None:
    """Write the calls that a sub-agent asks for; `first` is the place of the first of them."""
    together = Together()
    rows: Iterable[Model] = (
        ToolCall(
            id=call.id,
            session_id=ref.session_id,
            run_id=ref.run_id,
            attempt=ref.attempt,
            subagent_id=subagent_id,
            scope_id=ref.scope_id,
            position=place,
            name=call.name,
            arguments=call.arguments,
            status=ToolCall.Status.HELD,
            running_label=call.running_label,
            completed_label=call.completed_label,
            internal=call.internal,
        )
        for place, call in enumerate(calls, start=first)
    )
    for row in rows:
        together.insert(row)
    together.send()


def load_subagents(run_id: str) -> dict[str, StoredSubagent]:
    """The sub-agents of a run, by the call that dispatched them."""
    found = {}
    for row in Subagent.objects.filter(run_id=run_id):
        calls = tuple(
            StoredCall(
                call.pk,
                call.status,
                result_part(call) if call.status in SETTLED else None,
                call.stops,
            )
            for call in row.calls.order_by("position")
        )
        found[row.call_id] = StoredSubagent(
            row.pk,
            row.name,
            row.call_id,
            row.assignment,
            msgspec.convert(row.state, RunState),
            tuple(
                Remembered(position, msgspec.convert(message, HistoryMessage))
                for position, message in row.messages
            ),
            calls,
            row.seconds_used,
        )
    return found
