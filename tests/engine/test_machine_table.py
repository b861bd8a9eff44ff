"""The machine's transitions: each state, each input, what happens or that it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from agentsite.engine import steps
from agentsite.engine.machine import advance
from agentsite.engine.steps import CallState, IllegalInput, Incoming, Phase, RunState

A, B = "tc_a", "tc_b"


def call(id: str, status: steps.CallStatus, *, dispatch: bool = False) -> CallState:
    return CallState(id, "look", status, f"hash of {id}", dispatch)


def finish(call_id: str) -> Incoming:
    return steps.CallFinished(call_id, "ok")


def approve(call_id: str) -> Incoming:
    return steps.Answered(call_id, approved=True)


STATES: dict[str, RunState] = {
    "new": RunState(),
    "thinking": RunState(turn=1),
    "streaming": RunState(phase="streaming", turn=1),
    "compacting": RunState(phase="compacting", turn=1, short_compactions=1),
    "executing": RunState(phase="executing", turn=1, calls=(call(A, "running"),)),
    "dispatching": RunState(
        phase="dispatching", turn=1, calls=(call(A, "running", dispatch=True),)
    ),
    "confirming": RunState(phase="confirming", turn=1, calls=(call(A, "asked"), call(B, "held"))),
    "child waits": RunState(
        phase="confirming", turn=1, calls=(call(A, "waiting", dispatch=True), call(B, "ok"))
    ),
    "done": RunState(phase="done", turn=1, reason="model_stop"),
}
INPUTS: dict[str, Incoming] = {
    "Begun": steps.Begun(),
    "Resumed": steps.Resumed(),
    "ContextReady": steps.ContextReady(),
    "ContextFull": steps.ContextFull(90, 80),
    "Compacted": steps.Compacted(90, 40, 5, fits=True),
    "CompactionFailed": steps.CompactionFailed(),
    "Unaffordable": steps.Unaffordable("Used up.", closing=True),
    "ModelFinished": steps.ModelFinished(),
    "ModelFailed": steps.ModelFailed("server", "It broke."),
    "CallFinished": steps.CallFinished(A, "ok", "r"),
    "ChildWaits": steps.ChildWaits(A),
    "ChildWoken": steps.ChildWoken(A),
    "ConfirmationNeeded": steps.ConfirmationNeeded(A),
    "Answered": steps.Answered(A, approved=True),
    "Joined": steps.Joined(),
    "Cancelled": steps.Cancelled("user_abort"),
}
TABLE: dict[str, dict[str, str]] = {
    "new": {
        "Begun": "thinking: Prepare",
        "Resumed": "thinking: Prepare",
        "ContextReady": "streaming: CallModel",
        "ContextFull": "compacting: Emit Compact",
        "Joined": "thinking:",
        "Cancelled": "done: StopWork Finish",
    },
    "thinking": {
        "Resumed": "thinking: Prepare",
        "ContextReady": "streaming: CallModel",
        "ContextFull": "compacting: Emit Compact",
        "Joined": "thinking:",
        "Cancelled": "done: StopWork Finish",
    },
    "streaming": {
        "Resumed": "thinking: Prepare",
        "ModelFinished": "done: RecordTurn Finish",
        "ModelFailed": "done: RecordTurn Emit Finish",
        "Unaffordable": "thinking: RecordTurn Emit Hint Prepare",
        "Joined": "streaming:",
        "Cancelled": "done: StopWork RecordTurn Finish",
    },
    "compacting": {
        "Resumed": "compacting: Compact",
        "Compacted": "thinking: Emit Prepare",
        "CompactionFailed": "compacting: Compact",
        "Joined": "compacting:",
        "Cancelled": "done: StopWork Finish",
    },
    "executing": {
        "Resumed": "executing: StartCalls",
        "CallFinished": "thinking: Prepare",
        "ConfirmationNeeded": "confirming: AskPerson Park",
        "Joined": "executing:",
        "Cancelled": "done: StopWork SettleCalls Finish",
    },
    "dispatching": {
        "Resumed": "dispatching: Dispatch",
        "CallFinished": "thinking: Prepare",
        "ChildWaits": "confirming: Park",
        "ConfirmationNeeded": "confirming: AskPerson Park",
        "Joined": "dispatching:",
        "Cancelled": "done: StopWork SettleCalls Finish",
    },
    "confirming": {
        "Resumed": "confirming: Park",
        "CallFinished": "executing: StartCalls",
        "Answered": "executing: StartCalls",
        "Joined": "confirming:",
        "Cancelled": "done: StopWork SettleCalls Finish",
    },
    "child waits": {
        "Resumed": "confirming: Park",
        "ChildWoken": "dispatching: Dispatch",
        "Joined": "confirming:",
        "Cancelled": "done: StopWork SettleCalls Finish",
    },
    "done": {},
}
"""State, input: the next state and the effects in order. What is not here is refused."""


def test_the_table_knows_every_state_and_every_input() -> None:
    phases = {state.phase for state in STATES.values()}
    assert phases == set(get_args(Phase))
    assert {type(value) for value in INPUTS.values()} == set(get_args(Incoming))
    assert TABLE.keys() == STATES.keys()


@pytest.mark.parametrize("input_name", INPUTS)
@pytest.mark.parametrize("state_name", STATES)
def test_each_input_in_each_state_does_what_the_table_says(
    state_name: str, input_name: str
) -> None:
    """Invariant: illegal input raises and changes nothing."""
    state, before = STATES[state_name], msgspec.json.encode(STATES[state_name])
    expected = TABLE[state_name].get(input_name)
    if expected is None:
        with pytest.raises(IllegalInput):
            advance(state, INPUTS[input_name])
    else:
        after, effects = advance(state, INPUTS[input_name])
        told = " ".join((f"{after.phase}:", *(type(effect).__name__ for effect in effects)))
        assert told == expected
    assert msgspec.json.encode(state) == before


@pytest.mark.parametrize("state_name", ["executing", "dispatching", "confirming"])
@pytest.mark.parametrize("tell", [finish, steps.ConfirmationNeeded, approve])
def test_word_of_a_call_that_is_not_open_is_refused(
    state_name: str, tell: Callable[[str], Incoming]
) -> None:
    """A result or a decision counts once, and only for a call of the turn in hand."""
    state = STATES[state_name]
    closed = replace(state, calls=(*state.calls, call("tc_done", "ok")))
    for call_id in ("tc_done", "tc_of_another_turn"):
        with pytest.raises(IllegalInput):
            advance(closed, tell(call_id))


def test_two_calls_of_one_answer_with_one_id_are_refused() -> None:
    twice = (steps.PlannedCall(A, "look", {}), steps.PlannedCall(A, "look", {}))
    with pytest.raises(IllegalInput):
        advance(STATES["streaming"], steps.ModelFinished(twice))


@pytest.mark.parametrize("name", STATES)
def test_a_state_survives_json(name: str) -> None:
    """A run goes on in another process from what a row holds."""
    state = STATES[name]
    assert msgspec.json.decode(msgspec.json.encode(state), type=RunState) == state
    assert msgspec.convert(msgspec.to_builtins(state), RunState) == state
