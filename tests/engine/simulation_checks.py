"""What must hold of every step of the machine and of every request, checked from outside.

Law: the checker keeps its own books from inputs and effects; it never looks into the
machine. Its books are saved and restored with the state, as a crash would have it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from agentsite.engine import machine, steps
from agentsite.engine.events import Noticed
from agentsite.engine.limits import CLOSING_HINT, CLOSING_TEXT, canonical_json
from agentsite.engine.machine import advance
from agentsite.engine.messages import Message, ResultStatus
from agentsite.engine.ports import ModelRequest, ToolSpec
from agentsite.engine.steps import Effect, IllegalInput, Incoming, RunState
from agentsite.fakemodel.strict import (
    check_anthropic,
    check_google,
    check_openai_chat,
    check_openai_responses,
)
from agentsite.providers import anthropic, google, openai_chat, openai_responses
from tests.engine.simulation_model import CONFIGS, TOOLS

Effects = tuple[Effect, ...]
encode = msgspec.json.Encoder().encode
decode_state = msgspec.json.Decoder(RunState).decode
decode_incoming = msgspec.json.Decoder(Incoming).decode
decode_effects = msgspec.json.Decoder(Effects).decode

SPECS = tuple(ToolSpec(name, name, {"type": "object", "properties": {}}) for name in TOOLS)
VENDORS: dict[str, tuple[Any, Any]] = {
    "anthropic": (anthropic.to_request, check_anthropic),
    "chat": (openai_chat.to_request, check_openai_chat),
    "responses": (openai_responses.to_request, check_openai_responses),
    "google": (google.to_request, check_google),
}


def check_request(messages: tuple[Message, ...], vendor: str) -> None:
    """A vendor's strict validator takes this history, and it is the model's turn to speak."""
    assert messages[-1].role != "assistant", "a request ends with what the model said itself"
    map_request, find_problems = VENDORS[vendor]
    body = map_request(ModelRequest("Be brief.", messages, SPECS), CONFIGS[vendor])
    problems = find_problems(body)
    assert not problems, f"{vendor}: {problems}"


@dataclass
class Observed:
    """The checker's books on one run."""

    answers: int = 0
    planned: Counter[str] = field(default_factory=Counter)
    """Calls that models asked for, by tool and arguments."""
    results: Counter[str] = field(default_factory=Counter)
    """The same with their results."""
    keys: dict[str, str] = field(default_factory=dict)
    """Open call to tool and arguments."""
    gated: frozenset[str] = frozenset()
    """Calls that wait for a person."""
    stopping: str | None = None
    compactions: int = 0
    """In a row, without a model call."""
    summary_failures: int = 0
    overflows: int = 0
    refused: bool = False
    """The last request was too long for the vendor."""
    unheard: bool = False
    """A message has joined that is in no request yet."""
    closing: bool = False
    """A budget is used up: one last answer may come."""

    def copy(self) -> Observed:
        return replace(
            self,
            planned=Counter(self.planned),
            results=Counter(self.results),
            keys=dict(self.keys),
        )


class Watch:
    """Steps the machine and checks each step. One per run."""

    def __init__(self, rng: Random, books: Observed) -> None:
        self._rng = rng
        self.books = books

    def advance(self, state: RunState, incoming: Incoming) -> tuple[RunState, Effects]:
        raw = encode(state)
        after, effects = advance(state, incoming)
        assert encode(state) == raw, "the old state was changed"
        again = advance(decode_state(raw), decode_incoming(encode(incoming)))
        assert again == (after, effects), "the same input has another outcome after a restart"
        assert decode_state(encode(after)) == after, "the state does not survive JSON"
        assert decode_effects(encode(effects)) == effects, "an effect does not survive JSON"
        check_shape(after)
        self._check_end(after, effects)
        self._check_effects(state, incoming, after, effects)
        if self._rng.random() < 0.1:
            probe(after, self._rng)
        return after, effects

    def _check_end(self, after: RunState, effects: Effects) -> None:
        finishes = [effect for effect in effects if isinstance(effect, steps.Finish)]
        assert len(finishes) == (after.phase == "done")
        if finishes:
            assert effects[-1] is finishes[0], "something follows Finish"
            assert after.reason == finishes[0].reason
            for other in INPUTS:
                assert_refused(after, other)

    def _check_effects(  # noqa: C901 - one case per input
        self, state: RunState, incoming: Incoming, after: RunState, effects: Effects
    ) -> None:
        match incoming:
            case steps.ModelFinished():
                self._check_answer(state, incoming, after, effects)
            case steps.ModelFailed(kind):
                self._check_failure(kind, after)
            case steps.Unaffordable():
                self._check_poverty(state, incoming, after, effects)
            case steps.CallFinished():
                self.books.answers += incoming.turns
                self._check_result(state, incoming, effects)
            case steps.Answered():
                self._check_decision(incoming, after, effects)
            case steps.ConfirmationNeeded(call_id):
                self.books.gated |= {call_id}
            case steps.ChildWoken(call_id):
                assert effects == (steps.Dispatch((call_id,)),), "an answer is not waited for"
            case steps.Resumed(settled, turns, stop):
                self.books.answers += turns
                if stop and self.books.stopping is None:
                    self.books.stopping = "stopped"
                self._forget(settled)
                check_restart(state, settled, effects)
            case steps.ContextFull():
                expected = self.books.compactions < machine.SHORT_COMPACTIONS
                assert (after.phase == "compacting") == expected
                assert expected or after.reason == "error"
            case steps.Joined():
                self.books.unheard = True
            case steps.Compacted():
                self.books.compactions += 1
                self.books.refused = False
            case steps.CompactionFailed():
                self.books.summary_failures += 1
            case steps.Cancelled(reason):
                assert after.reason == reason
            case _:
                pass
        for effect in effects:
            self._check_effect(effect, after)

    def _check_effect(self, effect: Effect, after: RunState) -> None:
        books = self.books
        match effect:
            case steps.CallModel(turn):
                assert books.closing == after.closing
                assert turn == books.answers + 1 <= after.max_turns
                assert not books.refused, "a request that was too long is sent again"
                assert not books.unheard, "a message joins, and the request is without it"
                books.compactions = 0
            case steps.Prepare():
                books.unheard = False
            case steps.Compact():
                assert books.summary_failures < machine.SUMMARY_TRIES
            case steps.CutWindow():
                assert books.summary_failures >= machine.SUMMARY_TRIES
            case steps.StartCalls(call_ids) | steps.Dispatch(call_ids):
                assert not books.gated & set(call_ids), "a call runs before a person agreed"
                assert set(call_ids) <= books.keys.keys(), "a call with a result runs again"
            case steps.SettleCalls(call_ids):
                for call_id in call_ids:
                    del books.keys[call_id]
                books.gated -= set(call_ids)
            case steps.Finish():
                assert not books.keys, "a run ends with open calls"
            case _:
                pass

    def _check_answer(
        self, state: RunState, incoming: steps.ModelFinished, after: RunState, effects: Effects
    ) -> None:
        books = self.books
        books.answers += 1
        assert books.answers <= state.max_turns
        assert effects[0] == steps.RecordTurn(), "an answer is not used"
        if books.closing:
            books.keys |= {call.id: call.name for call in incoming.calls}
            unmade = tuple(call.id for call in incoming.calls)
            settle = (steps.SettleCalls(unmade, "error", CLOSING_TEXT),) if unmade else ()
            ended = (steps.RecordTurn(), *settle, steps.Finish("budget_exceeded"))
            assert effects == ended, "the last answer is not the last, or its calls are made"
            return
        refused = []
        for call in incoming.calls:
            key = f"{call.name} {canonical_json(call.arguments)}"
            books.planned[key] += 1
            books.keys[call.id] = key
            if 0 < state.max_tool_repeats < books.planned[key]:
                refused.append(call.id)
            elif call.gate == "ask":
                books.gated |= {call.id}
        settled = [e for e in effects if isinstance(e, steps.SettleCalls)]
        assert [i for e in settled for i in e.call_ids] == refused, "n calls run, the next does not"
        started = any(isinstance(e, steps.StartCalls | steps.Dispatch) for e in effects)
        assert not (started and books.gated), "something runs before all questions are answered"
        if refused:
            books.stopping = "loop_detected"
        if not incoming.calls:
            goes_on = state.joined and state.turn < state.max_turns
            assert after.reason == (None if goes_on else "model_stop")

    def _check_failure(self, kind: str, after: RunState) -> None:
        self.books.overflows += kind == "context_overflow"
        retried = kind == "context_overflow" and self.books.overflows == 1
        self.books.refused = retried
        assert after.phase == ("compacting" if retried else "done")
        assert retried or after.reason == ("budget_exceeded" if self.books.closing else "error")

    def _check_poverty(
        self, state: RunState, incoming: steps.Unaffordable, after: RunState, effects: Effects
    ) -> None:
        books = self.books
        told = [effect for effect in effects if isinstance(effect, steps.Emit)]
        notice = steps.Emit(Noticed(incoming.message, level="warning"))
        assert told == ([] if books.closing else [notice]), "people are told, once"
        assert after.turn == state.turn - 1, "no model was asked, so it is no turn"
        if books.closing or not incoming.closing:
            assert after.reason == "budget_exceeded"
        else:
            assert effects[-2:] == (steps.Hint(CLOSING_HINT), steps.Prepare())
            books.closing = True

    def _check_result(
        self, state: RunState, incoming: steps.CallFinished, effects: Effects
    ) -> None:
        books = self.books
        outcome = f"{books.keys.pop(incoming.call_id)} {incoming.result_hash}"
        books.gated -= {incoming.call_id}
        books.results[outcome] += 1
        hinted = any(isinstance(effect, steps.Hint) for effect in effects)
        assert hinted == (books.results[outcome] == 8), "the eighth repetition is told, once"
        if incoming.stop and books.stopping is None:
            books.stopping = "stopped"
        ends = [effect.reason for effect in effects if isinstance(effect, steps.Finish)]
        if ends:
            assert ends == [books.stopping or "max_turns"]
            assert books.stopping or state.turn == state.max_turns

    def _check_decision(self, incoming: steps.Answered, after: RunState, effects: Effects) -> None:
        self.books.gated -= {incoming.call_id}
        if incoming.approved:
            return
        assert all(call.status in ("running", "waiting") for call in after.calls if call.open)
        own = steps.SettleCalls((incoming.call_id,), "denied", machine.DENIED_TEXT)
        if incoming.expired:
            own = steps.SettleCalls((incoming.call_id,), "expired", machine.EXPIRED_TEXT)
        assert effects[0] == own

    def _forget(self, settled: dict[str, ResultStatus]) -> None:
        """A new attempt found these with a result."""
        for call_id in settled:
            self.books.keys.pop(call_id, None)
        self.books.gated -= frozenset(settled)


def check_restart(state: RunState, settled: dict[str, ResultStatus], effects: Effects) -> None:
    """What was under way and has no result begins again at once, and nothing else does."""
    again = {c.id for c in state.calls if c.status == "running" and c.id not in settled}
    started = [e for e in effects if isinstance(e, steps.StartCalls | steps.Dispatch)]
    if again:
        assert {call_id for effect in started for call_id in effect.call_ids} == again


def check_shape(state: RunState) -> None:
    """The phase agrees with the calls."""
    statuses = [call.status for call in state.calls if call.open]
    match state.phase:
        case "executing" | "dispatching":
            assert "running" in statuses
        case "confirming":
            assert "asked" in statuses or "waiting" in statuses
            assert "running" not in statuses
        case _:
            assert not state.calls
    assert 0 <= state.turn <= state.max_turns
    assert (state.phase == "done") == (state.reason is not None)


INPUTS: tuple[Incoming, ...] = (
    steps.Begun(),
    steps.Resumed(),
    steps.ContextReady(),
    steps.ContextFull(9, 8),
    steps.Compacted(9, 8, 1, fits=True),
    steps.CompactionFailed(),
    steps.ModelFinished(),
    steps.ModelFinished((steps.PlannedCall("new", "look", {}),)),
    steps.ModelFinished((steps.PlannedCall("x", "a", {}), steps.PlannedCall("x", "a", {}))),
    steps.ModelFailed("server", "broken"),
    steps.Unaffordable("used up", closing=True),
    steps.Unaffordable("used up"),
    steps.CallFinished("unknown", "ok"),
    steps.ChildWaits("unknown"),
    steps.ChildWoken("unknown"),
    steps.ConfirmationNeeded("unknown"),
    steps.Answered("unknown", approved=True),
    steps.Answered("unknown", approved=False),
    steps.Joined(),
    steps.Cancelled("user_abort"),
)
"""One of each, to be tried where it may be out of place."""


def probe(state: RunState, rng: Random) -> None:
    """Any input at all: refused without a trace, or a sound step."""
    incoming = rng.choice(INPUTS)
    if state.calls and rng.random() < 0.5:
        call_id = rng.choice(state.calls).id
        incoming = rng.choice(
            (
                steps.CallFinished(call_id, "ok"),
                steps.ChildWaits(call_id),
                steps.ChildWoken(call_id),
                steps.ConfirmationNeeded(call_id),
                steps.Answered(call_id, approved=rng.random() < 0.5),
            )
        )
    raw = encode(state)
    try:
        after, _ = advance(state, incoming)
    except IllegalInput:
        pass
    else:
        check_shape(after)
    assert encode(state) == raw


def assert_refused(state: RunState, incoming: Incoming) -> None:
    raw = encode(state)
    try:
        advance(state, incoming)
    except IllegalInput:
        assert encode(state) == raw
        return
    raise AssertionError(f"{incoming} was taken while {state.phase}")
