"""What becomes of the calls of a turn: gates, denials, repeats, stops, crashes."""

from __future__ import annotations

import pytest

from agentsite.engine import machine, steps
from agentsite.engine.events import Failed, Noticed
from agentsite.engine.limits import loop_sentence
from agentsite.engine.machine import advance
from agentsite.engine.messages import ResultStatus
from agentsite.engine.steps import PlannedCall, RunState, SettleCalls
from tests.engine.moves import answer, finished, plan, play, statuses


def test_calls_of_a_turn_start_together_after_the_turn_is_recorded() -> None:
    state, effects = play(RunState(), *answer(*plan("a", "b")))
    assert effects == (steps.RecordTurn(), steps.StartCalls(("tc_a", "tc_b")))
    assert statuses(state) == {"tc_a": "running", "tc_b": "running"}


def test_nothing_runs_before_every_question_of_the_turn_is_answered() -> None:
    """P8: all approvals of a batch are collected before any of it runs."""
    state, effects = play(RunState(), *answer(*plan("a"), *plan("b", "c", gate="ask")))
    assert effects == (steps.RecordTurn(), steps.AskPerson(("tc_b", "tc_c")), steps.Park())
    state, effects = advance(state, steps.Answered("tc_b", approved=True))
    assert effects == (steps.Park(),)
    state, effects = advance(state, steps.Answered("tc_c", approved=True))
    assert effects == (steps.StartCalls(("tc_a", "tc_b", "tc_c")),)


def test_subagents_start_beside_the_other_calls() -> None:
    child = PlannedCall("tc_c", "dispatch", {}, dispatch=True)
    state, effects = play(RunState(), *answer(*plan("a"), child))
    assert effects[1:] == (steps.StartCalls(("tc_a",)), steps.Dispatch(("tc_c",)))
    assert state.phase == "executing"
    state, effects = play(RunState(), *answer(child))
    assert effects[1:] == (steps.Dispatch(("tc_c",)),)
    assert state.phase == "dispatching"


def test_a_denied_call_gives_its_waiting_siblings_their_results() -> None:
    state, _ = play(RunState(), *answer(*plan("a"), *plan("b", "c", gate="ask")))
    state, effects = advance(state, steps.Answered("tc_b", approved=False))
    assert effects[:2] == (
        SettleCalls(("tc_b",), "denied", machine.DENIED_TEXT),
        SettleCalls(("tc_a", "tc_c"), "denied", machine.SIBLING_TEXT),
    )
    assert (state.phase, effects[2:]) == ("thinking", (steps.Prepare(),))


def test_a_question_that_nobody_answered_expires_and_is_not_called_a_refusal() -> None:
    """P5: what the model is told blames nobody."""
    state, _ = play(RunState(), *answer(*plan("a"), *plan("b", gate="ask")))
    state, effects = advance(state, steps.Answered("tc_b", approved=False, expired=True))
    assert effects[0] == SettleCalls(("tc_b",), "expired", machine.EXPIRED_TEXT)
    assert "declined" not in machine.SIBLING_TEXT


def test_a_denial_leaves_a_running_sibling_to_its_own_result() -> None:
    state, _ = play(RunState(), *answer(*plan("a", "b")), steps.ConfirmationNeeded("tc_b"))
    assert state.phase == "executing"
    state, effects = advance(state, steps.Answered("tc_b", approved=False))
    assert effects == (SettleCalls(("tc_b",), "denied", machine.DENIED_TEXT),)
    state, effects = advance(state, finished("a"))
    assert effects == (steps.Prepare(),)


def test_the_answer_to_a_question_counts_while_a_sibling_still_runs() -> None:
    state, _ = play(RunState(), *answer(*plan("a", "b")), steps.ConfirmationNeeded("tc_b"))
    state, effects = advance(state, finished("b"))
    assert (statuses(state)["tc_b"], effects) == ("ok", ())
    state, effects = advance(state, finished("a"))
    assert effects == (steps.Prepare(),)


def test_a_call_that_asks_while_it_runs_parks_the_run_once_its_siblings_are_done() -> None:
    state, effects = play(RunState(), *answer(*plan("a", "b")), steps.ConfirmationNeeded("tc_b"))
    assert effects == (steps.AskPerson(("tc_b",)),)
    state, effects = advance(state, finished("a"))
    assert (state.phase, effects) == ("confirming", (steps.Park(),))
    state, effects = advance(state, steps.Answered("tc_b", approved=True))
    assert (state.phase, effects) == ("executing", (steps.StartCalls(("tc_b",)),))


@pytest.mark.parametrize("limit", [1, 3])
def test_n_similar_calls_run_and_the_next_does_not(limit: int) -> None:
    state = RunState(max_tool_repeats=limit)
    for n in range(limit):
        state, effects = play(state, *answer(*plan(str(n), q=1)))
        assert effects[1:] == (steps.StartCalls((f"tc_{n}",)),)
        state, _ = advance(state, finished(str(n)))
    state, effects = play(state, *answer(*plan("last", q=1)))
    assert effects == (
        steps.RecordTurn(),
        SettleCalls(("tc_last",), "error", machine.REPEATED_TEXT),
        steps.Say(loop_sentence(limit)),
        steps.Finish("loop_detected"),
    )


def test_siblings_of_a_refused_repeat_still_run_before_the_run_ends() -> None:
    state = RunState(max_tool_repeats=1)
    state, effects = play(state, *answer(*plan("a", "b", q=1), *plan("c", name="other")))
    assert SettleCalls(("tc_b",), "error", machine.REPEATED_TEXT) in effects
    assert effects[-1] == steps.StartCalls(("tc_a", "tc_c"))
    state, _ = advance(state, finished("a"))
    state, effects = advance(state, finished("c"))
    assert effects[-1] == steps.Finish("loop_detected")


def test_the_eighth_same_outcome_is_told_once() -> None:
    """With maxToolRepeats 0 nothing is stopped; the model and the operators are told."""
    state, told = RunState(), []
    for n in range(12):
        state, _ = play(state, *answer(*plan(str(n), q=1)))
        state, effects = advance(state, finished(str(n), "same"))
        told.append([type(effect).__name__ for effect in effects[:-1]])
    assert told[7] == ["Emit", "Hint"]
    assert all(names == [] for n, names in enumerate(told) if n != 7)


def test_another_result_is_no_repetition() -> None:
    state = RunState()
    for n in range(9):
        state, _ = play(state, *answer(*plan(str(n), q=1)))
        state, effects = advance(state, finished(str(n), f"result {n}"))
        assert effects == (steps.Prepare(),)


def test_a_tool_that_stops_the_run_lets_its_siblings_end() -> None:
    state, _ = play(RunState(), *answer(*plan("a", "b")))
    state, effects = advance(state, finished("a", stop=True))
    assert effects == ()
    state, effects = advance(state, finished("b"))
    assert effects == (steps.Finish("stopped"),)


def test_a_stopped_run_settles_every_open_call_and_says_why() -> None:
    """P2: cancellation closes all open calls before it is told."""
    state, _ = play(RunState(), *answer(*plan("a", "b")), finished("a"))
    cancelled = steps.Cancelled("error", "It took too long.", "run_timeout")
    state, effects = advance(state, cancelled)
    assert effects == (
        steps.StopWork(),
        SettleCalls(("tc_b",), "interrupted", machine.INTERRUPTED_TEXT),
        steps.Emit(Failed("It took too long.", "run_timeout")),
        steps.Finish("error"),
    )
    assert state.calls == ()


def test_a_stopped_run_withdraws_what_it_asked() -> None:
    state, _ = play(RunState(), *answer(*plan("a"), *plan("b", gate="ask")))
    _, effects = advance(state, steps.Cancelled("user_abort"))
    settled = next(effect for effect in effects if isinstance(effect, SettleCalls))
    assert settled.call_ids == ("tc_a", "tc_b")


def test_after_a_crash_only_what_has_no_result_runs_again() -> None:
    """P8: a completed call is never executed again."""
    state, _ = play(RunState(), *answer(*plan("a", "b", "c")))
    resumed, effects = advance(state, steps.Resumed({"tc_a": "ok", "tc_b": "interrupted"}))
    assert effects == (steps.StartCalls(("tc_c",)),)
    assert statuses(resumed) == {"tc_a": "ok", "tc_b": "interrupted", "tc_c": "running"}


def test_after_a_crash_a_run_whose_calls_all_have_results_thinks_on() -> None:
    state, _ = play(RunState(), *answer(*plan("a")))
    state, effects = advance(state, steps.Resumed({"tc_a": "interrupted"}))
    assert (state.phase, state.turn, effects) == ("thinking", 1, (steps.Prepare(),))


def test_after_a_crash_a_wish_to_stop_is_still_known() -> None:
    state, _ = play(RunState(), *answer(*plan("a", "b")))
    settled: dict[str, ResultStatus] = {"tc_a": "ok", "tc_b": "interrupted"}
    state, effects = advance(state, steps.Resumed(settled, stop=True))
    assert (state.reason, effects) == ("stopped", (steps.Finish("stopped"),))


def test_after_a_crash_what_had_begun_waits_for_no_person() -> None:
    """It could be denied after it took effect, with the words that it was not carried out."""
    state, _ = play(RunState(), *answer(*plan("a", "b")), steps.ConfirmationNeeded("tc_b"))
    state, effects = advance(state, steps.Resumed({}))
    assert (state.phase, effects) == ("executing", (steps.StartCalls(("tc_a",)),))
    state, effects = advance(state, steps.Answered("tc_b", approved=False))
    assert statuses(state)["tc_a"] == "running"


def test_a_notice_names_the_tool_that_repeats() -> None:
    state = RunState()
    for n in range(8):
        state, _ = play(state, *answer(*plan(str(n), q=1)))
        state, effects = advance(state, finished(str(n), "same"))
    notice = next(e.event for e in effects if isinstance(e, steps.Emit))
    assert isinstance(notice, Noticed)
    assert "look" in notice.message
