"""The agent loop: `advance(state, incoming) -> (state, effects)`.

Law: whatever affects where a run goes next lives here and nowhere else. Input
that a state does not know raises `IllegalInput` and changes nothing. Every call
ends in one result before the run goes on; after `Finish` nothing follows.
"""

from __future__ import annotations

from typing import Literal, assert_never

from msgspec.structs import replace

from agentsite.engine import steps
from agentsite.engine.events import CompactionEnded, CompactionStarted, DoneReason, Failed, Noticed
from agentsite.engine.limits import CLOSING_HINT, CLOSING_TEXT, REPEAT_NOTICE_AT, loop_sentence
from agentsite.engine.steps import (
    AskPerson,
    CallModel,
    CallState,
    Compact,
    CutWindow,
    Dispatch,
    Effect,
    Emit,
    Finish,
    Hint,
    IllegalInput,
    Incoming,
    Park,
    Prepare,
    RecordTurn,
    RunState,
    Say,
    SettleCalls,
    StartCalls,
    StopWork,
)

Step = tuple[RunState, tuple[Effect, ...]]

SUMMARY_TRIES = 3
SHORT_COMPACTIONS = 2
DENIED_TEXT = "A person declined this action. It was not carried out."
SIBLING_TEXT = "Not carried out, because another action of the same step was not approved."
EXPIRED_TEXT = "Nobody answered in time. The action was not carried out."
ABSENT_TEXT = "This needs a person, and nobody is there to be asked. It was not carried out."
INTERRUPTED_TEXT = "The call was interrupted before it had a result."
REPEATED_TEXT = "Not carried out: this tool was called too often with similar arguments."
REPEAT_HINT = (
    "Note: the same call with the same arguments has returned the same result "
    f"{REPEAT_NOTICE_AT} times. Change the approach or finish."
)


def advance(state: RunState, incoming: Incoming) -> Step:  # noqa: C901 - one case per input
    """The only way a run's state changes. Raises `IllegalInput` for input out of place."""
    if state.phase == "done":
        raise IllegalInput(f"{type(incoming).__name__} after the run was done")
    match incoming:
        case steps.Begun():
            _expect(state, incoming, "thinking")
            if state.turn:
                raise IllegalInput("Begun twice")
            return _prepare(state)
        case steps.Resumed():
            return _resume(state, incoming)
        case steps.ContextReady():
            return _ask_model(state, incoming)
        case steps.ContextFull():
            return _fill(state, incoming)
        case steps.Compacted():
            return _compact(state, incoming)
        case steps.CompactionFailed():
            return _fail_summary(state, incoming)
        case steps.ModelFinished():
            return _finish_turn(state, incoming)
        case steps.ModelFailed():
            return _fail_turn(state, incoming)
        case steps.Unaffordable():
            return _close(state, incoming)
        case steps.CallFinished():
            return _finish_call(state, incoming)
        case steps.ChildWaits():
            return _let_child_wait(state, incoming)
        case steps.ChildWoken():
            return _wake_child(state, incoming)
        case steps.ConfirmationNeeded():
            _expect(state, incoming, "executing", "dispatching")
            asked = _mark(state, incoming.call_id, "asked", frm=("running",))
            return _after_calls(asked, (AskPerson((incoming.call_id,)),))
        case steps.Answered():
            return _answer(state, incoming)
        case steps.Joined():
            return replace(state, joined=True), ()
        case steps.Cancelled():
            return _cancel(state, incoming)
        case _:
            assert_never(incoming)


def _expect(state: RunState, incoming: Incoming, *phases: str) -> None:
    if state.phase not in phases:
        raise IllegalInput(f"{type(incoming).__name__} while {state.phase}")


def _mark(
    state: RunState, call_id: str, status: steps.CallStatus, *, frm: tuple[str, ...]
) -> RunState:
    found = next((call for call in state.calls if call.id == call_id), None)
    if found is None:
        raise IllegalInput(f"no call {call_id} in this turn")
    if found.status not in frm:
        raise IllegalInput(f"call {call_id} is {found.status}, not {' or '.join(frm)}")
    calls = tuple(
        replace(call, status=status) if call.id == call_id else call for call in state.calls
    )
    return replace(state, calls=calls)


def _finish(state: RunState, reason: DoneReason, *before: Effect) -> Step:
    return replace(state, phase="done", reason=reason, calls=()), (*before, Finish(reason))


def _think(state: RunState, *before: Effect) -> Step:
    """To the next turn, or to the end where one is due."""
    if state.stopping is not None:
        return _finish(state, state.stopping, *before)
    if state.turn >= state.max_turns:
        return _finish(state, "max_turns", *before)
    return _prepare(replace(state, calls=()), *before)


def _prepare(state: RunState, *before: Effect) -> Step:
    """Build a request; it will hold every message that has joined so far."""
    last: tuple[Effect, ...] = (Hint(CLOSING_HINT),) if state.closing else ()
    return replace(state, phase="thinking", joined=False), (*before, *last, Prepare())


# ---- context ---------------------------------------------------------------------


def _ask_model(state: RunState, incoming: steps.ContextReady) -> Step:
    _expect(state, incoming, "thinking")
    if state.joined:  # after the request was built: it would go unheard
        return _prepare(state)
    turn = state.turn + 1
    return replace(state, phase="streaming", turn=turn, short_compactions=0), (CallModel(turn),)


def _fill(state: RunState, incoming: steps.ContextFull) -> Step:
    _expect(state, incoming, "thinking")
    if state.short_compactions >= SHORT_COMPACTIONS:
        failed = Failed(
            message="The conversation no longer fits the model's window, even after compaction. "
            "Start a new session, or use a model with a larger window.",
            code="context_overflow",
        )
        return _finish(state, "error", Emit(failed))
    started = CompactionStarted(incoming.estimated, incoming.threshold)
    return _make_room(state, Emit(started))


def _make_room(state: RunState, *before: Effect) -> Step:
    effect: Effect = CutWindow() if state.summary_failures >= SUMMARY_TRIES else Compact()
    return replace(state, phase="compacting"), (*before, effect)


def _compact(state: RunState, incoming: steps.Compacted) -> Step:
    _expect(state, incoming, "compacting")
    ended = CompactionEnded(
        incoming.tokens_before,
        incoming.tokens_after,
        incoming.compaction_tokens,
        incoming.message,
    )
    # `ContextReady` resets the count: what was promised to fit is measured all the same.
    return _prepare(replace(state, short_compactions=state.short_compactions + 1), Emit(ended))


def _fail_summary(state: RunState, incoming: steps.CompactionFailed) -> Step:
    _expect(state, incoming, "compacting")
    failures = state.summary_failures + 1
    failed = replace(state, summary_failures=failures)
    if failures < SUMMARY_TRIES:
        return failed, (Compact(),)
    notice = Noticed(
        "The older part of this conversation could not be summarised; "
        "it was left out of the model's view.",
        level="warning",
    )
    return failed, (Emit(notice), CutWindow())


# ---- the model's answer ------------------------------------------------------------


def _finish_turn(state: RunState, incoming: steps.ModelFinished) -> Step:
    _expect(state, incoming, "streaming")
    if state.closing:
        unmade = tuple(planned.id for planned in incoming.calls)
        settle = (SettleCalls(unmade, "error", CLOSING_TEXT),) if unmade else ()
        return _finish(state, "budget_exceeded", RecordTurn(), *settle)
    if not incoming.calls:
        if state.joined and state.turn < state.max_turns:
            return _think(state, RecordTurn())
        return _finish(state, "model_stop", RecordTurn())
    ids = [planned.id for planned in incoming.calls]
    if len(set(ids)) < len(ids):
        raise IllegalInput("two calls of one answer share an id")
    tracker = state.repeats
    calls: list[CallState] = []
    refused: list[str] = []
    for planned in incoming.calls:
        tracker, count = tracker.observe(planned.name, planned.arguments)
        status: steps.CallStatus = "held"
        if state.max_tool_repeats and count > state.max_tool_repeats:
            refused.append(planned.id)
            status = "error"
        elif planned.gate == "ask":
            status = "asked"
        arguments_hash = tracker.fingerprint(planned.name, planned.arguments)
        calls.append(CallState(planned.id, planned.name, status, arguments_hash, planned.dispatch))
    after = replace(
        state,
        phase="executing",
        calls=tuple(calls),
        repeats=tracker,
        stopping="loop_detected" if refused else state.stopping,
    )
    effects: list[Effect] = [RecordTurn()]
    if refused:
        effects.append(SettleCalls(tuple(refused), "error", REPEATED_TEXT))
    asked = tuple(call.id for call in calls if call.status == "asked")
    if asked:
        effects.append(AskPerson(asked))
    return _after_calls(after, tuple(effects))


def _fail_turn(state: RunState, incoming: steps.ModelFailed) -> Step:
    _expect(state, incoming, "streaming")
    if incoming.kind == "context_overflow" and not state.overflow_retried:
        # The lost answer does not count as a turn, but it was paid for and may have been seen.
        again = replace(state, overflow_retried=True, turn=state.turn - 1)
        started = CompactionStarted(incoming.estimated, incoming.threshold)
        return _make_room(again, RecordTurn(partial=True), Emit(started))
    if state.closing:
        return _finish(state, "budget_exceeded", RecordTurn(partial=True))
    failed = Failed(incoming.message, f"provider_{incoming.kind}", incoming.retryable)
    return _finish(state, "error", RecordTurn(partial=True), Emit(failed))


def _close(state: RunState, incoming: steps.Unaffordable) -> Step:
    """One last answer, for which the money was kept back; where there is none, the end."""
    _expect(state, incoming, "streaming")
    asked = replace(state, turn=state.turn - 1)  # no model was asked
    told = () if state.closing else (Emit(Noticed(incoming.message, level="warning")),)
    if state.closing or not incoming.closing:
        return _finish(asked, "budget_exceeded", RecordTurn(partial=True), *told)
    return _prepare(replace(asked, closing=True), RecordTurn(partial=True), *told)


# ---- tool calls ----------------------------------------------------------------------


def _after_calls(state: RunState, before: tuple[Effect, ...]) -> Step:
    """Where a turn with calls stands: ask first, then run, then think on."""
    open_calls = [call for call in state.calls if call.open]
    if not open_calls:
        if state.stopping == "loop_detected":
            count = state.max_tool_repeats
            return _finish(state, "loop_detected", *before, Say(loop_sentence(count)))
        return _think(state, *before)
    if any(call.status == "running" for call in open_calls):
        return state, before
    ready = [call for call in open_calls if call.status in ("held", "approved")]
    if not ready or any(call.status == "asked" for call in open_calls):
        return replace(state, phase="confirming"), (*before, Park())
    starting = {call.id for call in ready}
    calls = tuple(
        replace(call, status="running") if call.id in starting else call for call in state.calls
    )
    phase: steps.Phase = "dispatching" if all(call.dispatch for call in ready) else "executing"
    return replace(state, phase=phase, calls=calls), (*before, *_start(ready))


def _start(calls: list[CallState]) -> tuple[Effect, ...]:
    plain = tuple(call.id for call in calls if not call.dispatch)
    children = tuple(call.id for call in calls if call.dispatch)
    effects: list[Effect] = []
    if plain:
        effects.append(StartCalls(plain))
    if children:
        effects.append(Dispatch(children))
    return tuple(effects)


def _let_child_wait(state: RunState, incoming: steps.ChildWaits) -> Step:
    _expect(state, incoming, "executing", "dispatching")
    waits = _mark(state, incoming.call_id, "waiting", frm=("running",))
    if not all(call.dispatch for call in waits.calls if call.id == incoming.call_id):
        raise IllegalInput(f"call {incoming.call_id} is no sub-agent")
    return _after_calls(waits, ())


def _wake_child(state: RunState, incoming: steps.ChildWoken) -> Step:
    """At once: it had begun, so it waits for no other question of the turn."""
    _expect(state, incoming, "confirming", "executing", "dispatching")
    awake = _mark(state, incoming.call_id, "running", frm=("waiting",))
    phase: steps.Phase = "dispatching" if state.phase == "confirming" else state.phase
    return replace(awake, phase=phase), (Dispatch((incoming.call_id,)),)


def _finish_call(state: RunState, incoming: steps.CallFinished) -> Step:
    _expect(state, incoming, "executing", "dispatching", "confirming")
    # A question to a person has its answer as its result, also while a sibling still runs.
    marked = _mark(state, incoming.call_id, incoming.status, frm=("running", "asked"))
    call = next(call for call in marked.calls if call.id == incoming.call_id)
    tracker, same = marked.repeats.observe_result(call.arguments_hash, incoming.result_hash)
    marked = replace(marked, repeats=tracker, turn=marked.turn + incoming.turns)
    if incoming.planning is not None:
        marked = replace(marked, planning=incoming.planning)
    if incoming.stop and marked.stopping is None:
        marked = replace(marked, stopping="stopped")
    before: tuple[Effect, ...] = ()
    if same == REPEAT_NOTICE_AT:
        text = f"{call.name} has returned the same result {same} times for the same arguments."
        before = (Emit(Noticed(text, level="warning")), Hint(REPEAT_HINT))
    return _after_calls(marked, before)


def _answer(state: RunState, incoming: steps.Answered) -> Step:
    _expect(state, incoming, "confirming", "executing", "dispatching")
    if incoming.approved:
        return _after_calls(_mark(state, incoming.call_id, "approved", frm=("asked",)), ())
    status: Literal["expired", "denied"] = "expired" if incoming.expired else "denied"
    state = _mark(state, incoming.call_id, status, frm=("asked",))
    siblings = tuple(
        call.id for call in state.calls if call.status in ("held", "asked", "approved")
    )
    for call_id in siblings:
        state = _mark(state, call_id, "denied", frm=("held", "asked", "approved"))
    text = ABSENT_TEXT if incoming.absent else EXPIRED_TEXT if incoming.expired else DENIED_TEXT
    effects: list[Effect] = [SettleCalls((incoming.call_id,), status, text)]
    if siblings:
        effects.append(SettleCalls(siblings, "denied", SIBLING_TEXT))
    return _after_calls(state, tuple(effects))


# ---- interruption and recovery -------------------------------------------------------


def _cancel(state: RunState, incoming: steps.Cancelled) -> Step:
    effects: list[Effect] = [StopWork()]
    if state.phase == "streaming":
        effects.append(RecordTurn(partial=True))
    open_calls = tuple(call.id for call in state.calls if call.open)
    if open_calls:
        effects.append(SettleCalls(open_calls, "interrupted", INTERRUPTED_TEXT))
    if incoming.message:
        effects.append(Emit(Failed(incoming.message, incoming.code or incoming.reason)))
    return _finish(state, incoming.reason, *effects)


def _resume(state: RunState, incoming: steps.Resumed) -> Step:
    match state.phase:
        case "thinking":
            return _prepare(state)
        case "streaming":
            # The lost answer was never used, so it does not count as a turn.
            return _prepare(replace(state, turn=state.turn - 1))
        case "compacting":
            # Not back to `thinking`: a vendor may have refused what our own measure lets pass.
            return _make_room(state)
        case "confirming":
            return state, (Park(),)
        case "executing" | "dispatching":
            return _resume_calls(state, incoming)
        case "done":
            raise IllegalInput("Resumed after the run was done")
        case _:
            assert_never(state.phase)


def _resume_calls(state: RunState, incoming: steps.Resumed) -> Step:
    """Repeat what may be repeated at once; it waits for no person, for it had begun."""
    settled = incoming.settled
    calls = tuple(
        replace(call, status=settled[call.id]) if call.open and call.id in settled else call
        for call in state.calls
    )
    resumed = replace(state, calls=calls, turn=state.turn + incoming.turns)
    if incoming.stop and resumed.stopping is None:
        resumed = replace(resumed, stopping="stopped")
    lost = [call for call in calls if call.status == "running"]
    return (resumed, _start(lost)) if lost else _after_calls(resumed, ())
