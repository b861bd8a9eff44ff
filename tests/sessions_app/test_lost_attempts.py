"""What a process that has lost its run may not do to the calls of whoever has it now."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.db import IntegrityError, transaction

from agentsite.engine.machine import INTERRUPTED_TEXT
from agentsite.engine.messages import TextPart, ToolResultPart
from agentsite.host.recovery import UNKNOWN, UNWRITABLE, end_refused
from sessions_app import actions
from sessions_app.actions import LeaseLost, RunRef
from sessions_app.history import read_result_text
from sessions_app.late import keep_late
from sessions_app.models import LateResult, Run, ToolCall
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Contested:
    """A run, the two attempts at it, and a call of it that is held."""

    old: RunRef
    new: RunRef
    call_id: str

    def take_over(self) -> None:
        """From here on the new attempt has it."""
        Run.objects.filter(pk=self.old.run_id).update(attempt=self.new.attempt)

    def settle(self, ref: RunRef, text: str) -> None:
        """Write a result as this attempt."""
        actions.settle_call(ref, self.call_id, "error", (TextPart(text),), 1, [])

    def say_late(self, ref: RunRef, text: str) -> bool:
        """Tell what the tool said after all, as this attempt."""
        return keep_late(ref, ToolResultPart(self.call_id, "look", "ok", (TextPart(text),)))


@pytest.fixture
def contested() -> Contested:
    session = make_session()
    run = make_run(session, status="running")
    message = run.messages.get(role="assistant")
    call = ToolCall.objects.create(
        id="tc_contested", session=session, run=run, message=message, attempt=1, position=1,
        name="look",
    )  # fmt: skip
    old, new = (RunRef(run.pk, attempt, session.pk, "") for attempt in (1, 2))
    return Contested(old, new, call.pk)


@requirement("runs.fence", "runs.repeat-safe")
def test_a_call_that_waited_for_its_turn_is_begun_by_whoever_has_the_run(
    contested: Contested,
) -> None:
    contested.take_over()
    refusal = (LeaseLost, IntegrityError)
    with pytest.raises(refusal), transaction.atomic():  # not begun yet by anybody
        actions.start_calls(contested.old, (contested.call_id,))
    for _ in range(2):  # what was written by a commit that was not heard of is written again
        actions.start_calls(contested.new, (contested.call_id,))
    with pytest.raises(refusal), transaction.atomic():  # at work there
        actions.start_calls(contested.old, (contested.call_id,))
    contested.settle(contested.new, "Seen.")
    for ref in (contested.old, contested.new):
        with pytest.raises(refusal), transaction.atomic():
            actions.start_calls(ref, (contested.call_id,))
    call = ToolCall.objects.get(pk=contested.call_id)
    assert (call.status, call.attempt) == ("error", 2)


@requirement("runs.fence", "runs.late")
def test_what_comes_late_is_kept_by_the_attempt_that_gave_the_call_up(contested: Contested) -> None:
    actions.start_calls(contested.old, (contested.call_id,))
    assert not contested.say_late(contested.old, "Nobody has given it up.")
    contested.take_over()
    assert not contested.say_late(contested.old, "It may be made again.")
    actions.start_calls(contested.new, (contested.call_id,))
    contested.settle(contested.new, "It took too long.")
    assert not contested.say_late(contested.old, "It was made again.")
    session_id = contested.new.session_id
    assert read_result_text(session_id, contested.call_id) == "It took too long."
    assert contested.say_late(contested.new, "At last.")
    assert not contested.say_late(contested.new, "Once more.")
    assert read_result_text(session_id, contested.call_id) == "At last."
    assert LateResult.objects.get().text == "At last."


@requirement("runs.unknown-outcome", "runs.unwritable")
def test_of_a_run_that_is_ended_only_what_had_begun_is_unknown(contested: Contested) -> None:
    ref, held = contested.old, ToolCall.objects.get(pk=contested.call_id)
    begun = ToolCall.objects.create(
        id="tc_begun", session=held.session, run=held.run, message=held.message, attempt=1,
        position=2, name="look",
    )  # fmt: skip
    actions.start_calls(ref, (begun.pk,))
    Run.objects.filter(pk=ref.run_id).update(owner="host_me")
    assert end_refused(ref, "host_me")
    texts = {pk: read_result_text(ref.session_id, pk) for pk in (held.pk, begun.pk)}
    assert texts == {held.pk: INTERRUPTED_TEXT, begun.pk: UNKNOWN}
    assert list(ToolCall.objects.filter(outcome_unknown=True)) == [begun]
    error = Run.objects.get().error
    assert error is not None and error["message"] == UNWRITABLE
