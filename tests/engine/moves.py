"""Short words for what a run is told, for the tests of the machine."""

from __future__ import annotations

from typing import Any, Literal

from agentsite.engine import steps
from agentsite.engine.machine import advance
from agentsite.engine.steps import Effect, Incoming, PlannedCall, RunState


def plan(
    *ids: str, gate: Literal["run", "ask"] = "run", name: str = "look", **arguments: Any
) -> tuple[PlannedCall, ...]:
    return tuple(PlannedCall(f"tc_{id}", name, arguments or {"id": id}, gate) for id in ids)


def play(state: RunState, *inputs: Incoming) -> tuple[RunState, tuple[Effect, ...]]:
    """The state after all inputs, and the effects of the last one."""
    effects: tuple[Effect, ...] = ()
    for incoming in inputs:
        state, effects = advance(state, incoming)
    return state, effects


def answer(*calls: PlannedCall) -> tuple[Incoming, ...]:
    """One turn, from the measured context to the whole answer."""
    return steps.ContextReady(), steps.ModelFinished(calls)


def statuses(state: RunState) -> dict[str, str]:
    return {call.id: call.status for call in state.calls}


def finished(call_id: str, result: str = "r", *, stop: bool = False) -> steps.CallFinished:
    return steps.CallFinished(f"tc_{call_id}", "ok", result, stop)
