"""What a lost attempt said was never said: folds across `run_resumed`, and in parts."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from agentsite.engine import events as e
from agentsite.engine.transcript import Transcript, fold, message_id
from tests.engine.simulation import World, without_voids
from tests.engine.test_transcript import MEASURED, asked, done, ended, init, number, started, text

CALLED = (init(), *text("Look"), MEASURED, started("a"), started("b"))
"""Numbers 1 to 5."""
LOST: list[tuple[str, list[e.AnyEvent]]] = [
    ("text", text("Once", " upon")),
    ("an answer with calls", [*text("More"), MEASURED, started("c"), ended("c")]),
    ("a result", [ended("a"), ended("b")]),
    ("a question", [e.ConfirmationRequired("int_1", "a", "refund", {})]),
    ("an answer to a question", [e.Approved("refund", "int_0", "a")]),
    ("a title", [e.TitleChanged("Lost")]),
    ("an error", [e.Failed("It broke.", "provider_server")]),
    ("a joined message", [e.UserJoined(asked("And?"))]),
    ("a label", [e.ToolRelabelled("a", "again", "again")]),
    ("a removal", [e.MessagesRemoved("run_1", ("msg_Hi", message_id("run_1", 1)))]),
    ("a widget", [e.WidgetShown("card", {}, "a")]),
    ("an end", [ended("a"), ended("b"), *text("Bye"), done()]),
]


def resume(entries: list[e.Entry], discard_from: int) -> list[e.Entry]:
    """The log behind a crash: further numbers, and what they discard."""
    return [*entries, e.Entry(100, 1000, e.RunResumed(2, discard_from))]


def assert_same(one: Transcript, other: Transcript) -> None:
    assert one.messages == other.messages
    assert one.pending == other.pending
    assert one.title == other.title


@pytest.mark.parametrize(("what", "lost"), LOST, ids=[what for what, _ in LOST])
def test_what_a_lost_attempt_said_was_never_said(what: str, lost: list[e.AnyEvent]) -> None:
    kept = [*CALLED, e.TitleChanged("Kept"), e.UserAsked("int_0", "a", ())]
    last = len(kept)
    crashed = fold(resume(number(*kept, *lost), discard_from=last))
    assert_same(crashed, fold(number(*kept)))


def test_the_next_attempt_goes_on_as_if_it_were_the_first() -> None:
    crashed = resume(number(*CALLED, ended("a"), ended("b"), *text("Once upon")), discard_from=7)
    again = number(*text("Anew"), MEASURED, done(), start=101)
    third = fold([*crashed, *again]).messages[2]
    assert (third["id"], third["text"]) == (message_id("run_1", 2), "Anew")


def test_text_that_was_sent_and_never_committed_is_discarded_too() -> None:
    """A client has seen numbers that the log does not hold."""
    committed = number(*CALLED, ended("a"), ended("b"))
    seen = [*committed, *number(*text("never", "stored"), start=8)]
    assert_same(fold(resume(seen, 7)), fold(resume(committed, 7)))


def test_widgets_of_a_call_without_a_result_go_with_its_attempt() -> None:
    """The call is made again and shows them again, or nobody knows what became of it."""
    shows = (e.WidgetShown("card", {}, "a"), e.WidgetShown("chart", {}, "b"))
    entries = number(*CALLED, *shows, ended("b"))
    message = fold(resume(entries, discard_from=8)).messages[1]
    assert [widget["widgetType"] for widget in message["widgets"]] == ["chart"]


def test_a_second_crash_does_not_bring_back_what_the_first_one_took() -> None:
    entries = number(*CALLED, e.WidgetShown("card", {}, "a"), *text("lost"))
    first = resume(entries, discard_from=6)
    unknown = e.Entry(101, 1010, ended("a", ok=False, status="interrupted"))
    second = e.Entry(200, 2000, e.RunResumed(3, 101))
    messages = fold([*first, unknown, second]).messages
    assert [message["text"] for message in messages] == ["Hi", "Look"]
    assert messages[1]["widgets"] == []
    assert messages[1]["toolCalls"][0]["status"] == "error"


def test_a_crash_leaves_earlier_runs_alone() -> None:
    before = number(init(), *text("Fine."), done(), e.TitleChanged("Talk"))
    second = number(init("More", "run_2"), *text("lost"), start=5)
    folded = fold(resume([*before, *second], discard_from=5))
    assert [message["text"] for message in folded.messages] == ["Hi", "Fine.", "More"]
    assert folded.title == "Talk"


def play(seed: int) -> World:
    world = World(Random(seed))
    world.play()
    return world


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000))
def test_a_log_can_be_folded_in_two_parts_cut_anywhere(seed: int) -> None:
    """Invariant 6, on values: the first i, then the rest; to look in between changes nothing."""
    log = play(seed).rows.log
    whole = fold(log)
    for cut in range(len(log) + 1):
        parts = fold(log[:cut])
        assert len(parts.messages) >= len(parts.pending) >= 0
        for entry in log[cut:]:
            parts.fold(entry)
        assert_same(parts, whole)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100_000))
def test_the_fold_is_the_session_as_its_rows_tell_it(seed: int) -> None:
    """Invariant 5, also without what was discarded and after the log was stored as JSON."""
    world = play(seed)
    folded = fold(world.rows.log)
    assert folded.messages == world.rows.project()
    assert (folded.pending, folded.title) == (world.rows.project_pending(), world.rows.title)
    stored = msgspec.json.decode(msgspec.json.encode(world.rows.log), type=list[e.Entry])
    assert_same(fold(stored), folded)
    assert_same(fold(without_voids(world.rows.log)), folded)
