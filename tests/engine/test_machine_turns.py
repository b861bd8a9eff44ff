"""How many turns a run has, what joins it, how it makes room, how it goes on after a crash."""

from __future__ import annotations

import pytest

from agentsite.engine import machine, steps
from agentsite.engine.events import CompactionEnded, CompactionStarted, Failed
from agentsite.engine.machine import advance
from agentsite.engine.steps import RunState
from tests.engine.moves import answer, finished, plan, play

FULL, READY = steps.ContextFull(90, 80), steps.ContextReady()
TOO_LONG = steps.ModelFailed("context_overflow", "The prompt is too long.", False, 70, 80)
STARTED = steps.Emit(CompactionStarted(90, 80))


def make_room(*, fits: bool) -> steps.Compacted:
    return steps.Compacted(90, 40 if fits else 85, 5, fits)


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_n_turns_are_n_model_calls_and_the_last_answer_is_used(turns: int) -> None:
    state = RunState(max_turns=turns)
    for n in range(turns):
        state, effects = play(state, *answer(*plan(str(n))))
        assert effects == (steps.RecordTurn(), steps.StartCalls((f"tc_{n}",)))
        state, effects = advance(state, finished(str(n)))
    assert effects == (steps.Finish("max_turns"),)
    assert state.turn == turns


def test_an_answer_without_calls_ends_the_run() -> None:
    state, effects = play(RunState(), *answer())
    assert effects == (steps.RecordTurn(), steps.Finish("model_stop"))
    assert state.reason == "model_stop"


def test_a_message_that_joins_while_the_model_speaks_is_answered() -> None:
    state, effects = play(RunState(), READY, steps.Joined(), steps.ModelFinished())
    assert effects == (steps.RecordTurn(), steps.Prepare())
    state, effects = play(state, *answer())
    assert effects[-1] == steps.Finish("model_stop")


def test_a_message_that_joins_after_the_request_was_built_is_in_the_next_one() -> None:
    """The request is built anew, since it would be sent without the message."""
    state, effects = play(RunState(), steps.Begun(), steps.Joined(), READY)
    assert (state.phase, state.turn, effects) == ("thinking", 0, (steps.Prepare(),))
    state, effects = advance(state, READY)
    assert effects == (steps.CallModel(1),)


def test_a_message_that_joins_beside_calls_costs_no_further_turn() -> None:
    """The request after the calls holds it anyway."""
    state, _ = play(RunState(), *answer(*plan("a")), steps.Joined(), finished("a"), *answer())
    assert (state.reason, state.turn) == ("model_stop", 2)


def test_a_message_that_joins_the_last_turn_waits_for_the_next_run() -> None:
    _, effects = play(RunState(max_turns=1), READY, steps.Joined(), steps.ModelFinished())
    assert effects == (steps.RecordTurn(), steps.Finish("model_stop"))


def test_a_full_context_is_compacted_and_measured_again() -> None:
    state, effects = play(RunState(), steps.Begun(), FULL)
    assert effects == (STARTED, steps.Compact())
    state, effects = advance(state, make_room(fits=True))
    assert effects == (steps.Emit(CompactionEnded(90, 40, 5)), steps.Prepare())


@pytest.mark.parametrize("promised", [True, False])
def test_two_compactions_in_a_row_that_do_not_help_end_the_run(promised: bool) -> None:
    """Whatever the summary promised, the measure decides; a run never compacts for ever."""
    made = make_room(fits=promised)
    _, effects = play(RunState(), steps.Begun(), FULL, made, FULL, made, FULL)
    failed = effects[0]
    assert isinstance(failed, steps.Emit)
    assert isinstance(failed.event, Failed)
    assert failed.event.code == "context_overflow"
    assert effects[1:] == (steps.Finish("error"),)


def test_a_model_call_in_between_lets_a_run_compact_again() -> None:
    made = make_room(fits=False)
    state, _ = play(RunState(), steps.Begun(), FULL, made, FULL, made)
    state, _ = play(state, *answer(*plan("a")), finished("a"))
    state, effects = advance(state, FULL)
    assert effects == (STARTED, steps.Compact())


def test_three_failures_of_the_summariser_switch_to_the_window_cut_for_good() -> None:
    failed = steps.CompactionFailed()
    state, effects = play(RunState(), steps.Begun(), FULL, failed)
    assert effects == (steps.Compact(),)
    state, effects = play(state, failed, failed)
    assert isinstance(effects[0], steps.Emit)
    assert effects[1:] == (steps.CutWindow(),)
    state, _ = play(state, make_room(fits=True), *answer(*plan("a")), finished("a"))
    state, effects = advance(state, FULL)
    assert effects == (STARTED, steps.CutWindow())


def test_a_prompt_that_is_too_long_is_compacted_and_sent_once_more() -> None:
    """What had come of the answer stays, the attempt is no turn, but it is metered."""
    state, effects = play(RunState(max_turns=1), READY, TOO_LONG)
    started = steps.Emit(CompactionStarted(70, 80))
    assert effects == (steps.RecordTurn(partial=True), started, steps.Compact())
    state, effects = play(state, make_room(fits=True), READY)
    assert effects == (steps.CallModel(1),)
    state, effects = advance(state, TOO_LONG)
    assert effects[-1] == steps.Finish("error")


def test_a_prompt_that_is_too_long_for_a_failing_summariser_is_cut() -> None:
    state = RunState(summary_failures=machine.SUMMARY_TRIES)
    _, effects = play(state, READY, TOO_LONG)
    assert effects[-1] == steps.CutWindow()


def test_a_failed_model_call_ends_the_run_with_what_had_come() -> None:
    _, effects = play(RunState(), READY, steps.ModelFailed("server", "It broke.", True))
    failed = Failed("It broke.", "provider_server", True)
    assert effects == (steps.RecordTurn(partial=True), steps.Emit(failed), steps.Finish("error"))


def test_a_stop_while_the_model_speaks_keeps_what_it_said() -> None:
    _, effects = play(RunState(), READY, steps.Cancelled("user_abort"))
    assert effects == (
        steps.StopWork(), steps.RecordTurn(partial=True), steps.Finish("user_abort"),
    )  # fmt: skip


def test_an_answer_that_was_lost_in_a_crash_is_no_turn() -> None:
    state, effects = play(RunState(max_turns=1), READY, steps.Resumed())
    assert (state.turn, effects) == (0, (steps.Prepare(),))
    state, effects = play(state, *answer())
    assert state.reason == "model_stop"


def test_a_crash_while_room_is_made_does_not_send_the_refused_request_again() -> None:
    """Our own measure had let it pass, so to measure again would change nothing."""
    state, effects = play(RunState(), READY, TOO_LONG, steps.Resumed())
    assert (state.phase, effects) == ("compacting", (steps.Compact(),))
    cut = RunState(phase="compacting", summary_failures=machine.SUMMARY_TRIES)
    assert advance(cut, steps.Resumed())[1] == (steps.CutWindow(),)


def test_a_parked_run_stays_parked_when_another_process_takes_it_over() -> None:
    state, _ = play(RunState(), *answer(*plan("a", gate="ask")))
    resumed, effects = advance(state, steps.Resumed())
    assert (resumed, effects) == (state, (steps.Park(),))
