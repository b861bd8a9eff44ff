"""A budget that is used up: one last answer, and what it asks for is not carried out."""

from __future__ import annotations

from agentsite.engine import steps
from agentsite.engine.events import Noticed
from agentsite.engine.limits import CLOSING_HINT, CLOSING_TEXT
from agentsite.engine.machine import advance
from agentsite.engine.steps import RunState
from tests.engine.moves import answer, finished, plan, play
from tests.requirements import requirement

READY = steps.ContextReady()
SPENT = steps.Unaffordable("The budget of this scope for today is used up.", closing=True)
NO_MORE = steps.Unaffordable(SPENT.message)
TOLD = steps.Emit(Noticed(SPENT.message, level="warning"))
ENDED = steps.Finish("budget_exceeded")


@requirement("runs.closing-turn")
def test_what_is_refused_is_no_turn_and_the_last_answer_is_one() -> None:
    state, effects = play(RunState(max_turns=1), READY, SPENT)
    assert effects == (
        steps.RecordTurn(partial=True),
        TOLD,
        steps.Hint(CLOSING_HINT),
        steps.Prepare(),
    )
    assert (state.turn, state.closing) == (0, True)
    state, effects = play(state, *answer())
    assert effects == (steps.RecordTurn(), ENDED)
    assert (state.turn, state.reason) == (1, "budget_exceeded")


def test_calls_of_the_last_answer_have_a_result_and_are_not_made() -> None:
    state, effects = play(RunState(), READY, SPENT, *answer(*plan("a", "b")))
    settled = steps.SettleCalls(("tc_a", "tc_b"), "error", CLOSING_TEXT)
    assert effects == (steps.RecordTurn(), settled, ENDED)
    assert state.calls == ()


def test_without_money_for_a_last_answer_the_run_ends_at_once() -> None:
    for refusals in ((NO_MORE,), (SPENT, READY, NO_MORE), (SPENT, READY, SPENT)):
        state, effects = play(RunState(), READY, *refusals)
        assert effects[0] == steps.RecordTurn(partial=True)
        assert effects[-1] == ENDED
        assert state.reason == "budget_exceeded"
        assert (TOLD in effects) == (len(refusals) == 1), "people are told once"


def test_a_last_answer_that_fails_ends_the_run_with_the_reason_it_had() -> None:
    _, effects = play(RunState(), READY, SPENT, READY, steps.ModelFailed("server", "broken"))
    assert effects == (steps.RecordTurn(partial=True), ENDED)


def test_the_last_answer_is_asked_for_again_after_a_crash() -> None:
    state, _ = play(RunState(), *answer(*plan("a")), finished("a"), READY, SPENT, READY)
    assert (state.turn, state.phase) == (2, "streaming")
    again, effects = advance(state, steps.Resumed())
    assert effects == (steps.Hint(CLOSING_HINT), steps.Prepare())
    assert (again.turn, again.closing) == (1, True)


def test_a_message_that_joins_gets_no_further_turn() -> None:
    state, effects = play(RunState(), READY, SPENT, READY, steps.Joined(), steps.ModelFinished())
    assert effects[-1] == ENDED
    assert state.reason == "budget_exceeded"
