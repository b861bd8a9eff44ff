"""The fold of events: which message each belongs to, and what is open, named and failed."""

from __future__ import annotations

from typing import Any

import pytest

from agentsite.engine import events as e
from agentsite.engine.deltas import Usage
from agentsite.engine.messages import ImagePart, Message, TextPart
from agentsite.engine.transcript import (
    Transcript,
    error_id,
    fold,
    message_id,
    summary_to_api,
    timestamp,
    user_to_api,
)

RUN = "run_1"


def asked(text: str = "Hi", run_id: str = RUN) -> dict[str, Any]:
    return user_to_api(Message("user", (TextPart(text),), f"msg_{text}"), 0, run_id)


def init(text: str = "Hi", run_id: str = RUN) -> e.Init:
    return e.Init("sess_1", run_id, asked(text, run_id))


def started(call: str, name: str = "look") -> e.ToolStarted:
    return e.ToolStarted(call, name, {"q": 1}, f"{name}ing", f"{name}ed")


def ended(call: str, *, ok: bool = True, status: str = "ok") -> e.ToolEnded:
    return e.ToolEnded(call, "look", ok, f"result of {call}", 5, status=status)


def done(reason: e.DoneReason = "model_stop", run_id: str = RUN) -> e.Done:
    return e.Done(reason, Usage(), 0, run_id)


MEASURED = e.ContextMeasured(10, 100, 10.0)


def text(*pieces: str) -> list[e.AnyEvent]:
    return [e.TextStreamed(piece) for piece in pieces]


def number(*events: e.AnyEvent, start: int = 1) -> list[e.Entry]:
    """A log: numbers from `start`, ten milliseconds apart."""
    return [e.Entry(seq, 10 * seq, event) for seq, event in enumerate(events, start)]


def shown(*events: e.AnyEvent) -> list[tuple[str, str, list[str]]]:
    """Type, text and calls of each message behind the first."""
    messages = fold(number(init(), *events)).messages[1:]
    return [(m["type"], m["text"], [call["toolId"] for call in m["toolCalls"]]) for m in messages]


def said(text: str, *calls: str) -> tuple[str, str, list[str]]:
    return "assistant_text", text, list(calls)


# ---- which message --------------------------------------------------------------------------


def test_an_answer_is_one_message_with_its_calls() -> None:
    turn = (*text("Let me ", "look."), MEASURED, started("a"), started("b"))
    assert shown(*turn, ended("a"), ended("b")) == [said("Let me look.", "a", "b")]


def test_what_is_said_after_the_results_is_the_next_message() -> None:
    turns = (*text("Look"), MEASURED, started("a"), ended("a"), *text("Done"), MEASURED)
    assert shown(*turns) == [said("Look", "a"), said("Done")]


def test_calls_without_a_word_are_a_message_of_their_own() -> None:
    turns = (MEASURED, started("a"), ended("a"), MEASURED, started("b"), ended("b"))
    assert shown(*turns) == [said("", "a"), said("", "b")]


def test_two_answers_in_a_row_are_two_messages() -> None:
    """A message joined, so the run went on behind an answer without calls."""
    joined = e.UserJoined(asked("And?"))
    turns = (*text("One"), MEASURED, joined, *text("Two"), MEASURED)
    assert [m[:2] for m in shown(*turns)] == [
        ("assistant_text", "One"), ("user", "And?"), ("assistant_text", "Two"),
    ]  # fmt: skip
    calls = (*text("One"), MEASURED, MEASURED, started("a"), ended("a"))
    assert shown(*calls) == [said("One"), said("", "a")]


def test_a_message_that_joins_within_an_answer_does_not_cut_it() -> None:
    joined = e.UserJoined(asked("And?"))
    assert shown(*text("One "), joined, *text("answer"), MEASURED)[0] == said("One answer")


def test_calls_belong_to_their_answer_even_if_a_message_joins_before_their_results() -> None:
    joined = e.UserJoined(asked("And?"))
    turns = (*text("Look"), MEASURED, started("a"), joined, ended("a"), *text("Done"))
    assert [m[1] for m in shown(*turns)] == ["Look", "And?", "Done"]
    assert shown(*turns)[0] == said("Look", "a")


def test_an_answer_that_outgrew_the_window_is_partial_and_the_next_one_begins_anew() -> None:
    room = (e.CompactionStarted(90, 80), e.CompactionEnded(90, 40, 5))
    entries = number(init(), *text("Once upon"), *room, *text("Again"), MEASURED)
    first, second = fold(entries).messages[1:]
    assert (first["text"], first["partial"]) == ("Once upon", True)
    assert second["text"] == "Again"
    assert "partial" not in second


def test_a_message_has_the_time_of_its_first_word() -> None:
    entries = number(init(), *text("a", "b"), MEASURED, started("x"))
    assert fold(entries).messages[1]["timestamp"] == timestamp(20)


def test_messages_of_a_run_are_counted_from_one() -> None:
    one = (init(), *text("a"), MEASURED, started("x"), ended("x"), *text("b"), done())
    two = (init("More", "run_2"), *text("c"), done(run_id="run_2"))
    ids = [message["id"] for message in fold(number(*one, *two)).messages]
    assert ids == [
        "msg_Hi", message_id(RUN, 1), message_id(RUN, 2), "msg_More", message_id("run_2", 1),
    ]  # fmt: skip


def test_a_summary_stands_where_it_was_made() -> None:
    summary = summary_to_api("sum_1", "They talked.", 30, RUN)
    entries = number(init(), e.CompactionEnded(9, 5, 1, summary), *text("On"), done())
    assert [message["type"] for message in fold(entries).messages] == [
        "user", "summary", "assistant_text",
    ]  # fmt: skip


def test_a_run_that_is_rolled_back_leaves_no_message() -> None:
    turn = (*text("Look"), MEASURED, started("a"), ended("a"))
    gone = e.MessagesRemoved(RUN, ("msg_Hi", message_id(RUN, 1)))
    assert fold(number(init(), *turn, gone, done("user_abort"))).messages == []


def test_images_are_shown_by_address_and_never_inline() -> None:
    parts = (TextPart("See"), ImagePart("image/png", attachment="att_1"))
    block = user_to_api(Message("user", parts, "msg_1"), 0, RUN, "sess_1")["contentBlocks"][1]
    assert block == {
        "type": "image",
        "source": {
            "mediaType": "image/png",
            "attachmentId": "att_1",
            "url": "/sessions/sess_1/attachments/att_1",
        },
    }


# ---- ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["user_abort", "error", "budget_exceeded"])
def test_an_answer_that_was_cut_says_so(reason: e.DoneReason) -> None:
    assert fold(number(init(), *text("Once"), done(reason))).messages[1]["partial"] is True


@pytest.mark.parametrize("reason", ["model_stop", "loop_detected", "max_turns"])
def test_a_whole_answer_is_not_called_partial(reason: e.DoneReason) -> None:
    assert "partial" not in fold(number(init(), *text("Done."), done(reason))).messages[1]


def test_a_stop_behind_a_whole_answer_does_not_make_it_partial() -> None:
    turn = (*text("Look"), MEASURED, started("a"), ended("a", ok=False, status="interrupted"))
    assert "partial" not in fold(number(init(), *turn, done("user_abort"))).messages[1]


def test_an_error_is_a_message_behind_what_had_come() -> None:
    failed = e.Failed("The model did not answer.", "provider_server")
    first, second = fold(number(init(), *text("Once"), failed, done("error"))).messages[1:]
    assert first["partial"] is True
    assert (second["id"], second["type"]) == (error_id(RUN), "error")
    assert second["text"] == "The model did not answer."


# ---- calls ------------------------------------------------------------------------------------


def test_a_call_shows_its_result_or_its_error() -> None:
    entries = number(init(), MEASURED, started("a"), started("b"), ended("a"))
    a, b = fold(entries).messages[1]["toolCalls"]
    assert (a["status"], a["result"], a["error"]) == ("success", "result of a", None)
    assert (b["status"], b["result"]) == ("running", None)
    denied = number(ended("b", ok=False, status="denied"), start=len(entries) + 1)
    b = fold([*entries, *denied]).messages[1]["toolCalls"][1]
    assert (b["status"], b["error"]) == ("error", "result of b")


def test_a_later_label_replaces_the_first_one_and_only_that() -> None:
    labelled = (started("a"), e.ToolRelabelled("a", running_label="still looking"))
    call = fold(number(init(), *labelled)).messages[1]["toolCalls"][0]
    assert (call["running_label"], call["completed_label"]) == ("still looking", "looked")


def test_widgets_stand_in_the_message_whose_call_showed_them() -> None:
    shows = (e.WidgetShown("card", {"n": 1}, "a"), e.WidgetShown("chart", {"n": 2}, "b"))
    turn = (MEASURED, started("a"), started("b"), *shows, ended("a"), ended("b"))
    message = fold(number(init(), *turn)).messages[1]
    assert [widget["widgetType"] for widget in message["widgets"]] == ["card", "chart"]
    assert message["contentBlocks"][-1] == {
        "type": "widget", "widgetType": "chart", "data": {"n": 2},
    }  # fmt: skip


def test_what_was_read_before_does_not_change_afterwards() -> None:
    """A snapshot is a snapshot: a reader may keep it."""
    transcript = fold(number(init(), MEASURED, started("a")))
    before = transcript.messages
    transcript.fold(e.Entry(9, 90, ended("a")))
    assert before[1]["toolCalls"][0]["status"] == "running"
    assert transcript.messages[1]["toolCalls"][0]["status"] == "success"


# ---- questions and the title --------------------------------------------------------------------


QUESTIONS: tuple[e.AnyEvent, ...] = (
    e.ConfirmationRequired("int_a", "a", "refund", {"amount": 5}),
    e.UserAsked("int_b", "b", ({"question": "Which?"},)),
    e.ChoiceAsked("int_c", "c", "Colour?", ({"label": "Red", "value": "r"},), multi=True),
)
ASKING = (init(), MEASURED, started("a"), started("b"), started("c"), *QUESTIONS)


def open_ids(*events: e.AnyEvent) -> list[str]:
    return [asked["interactionId"] for asked in fold(number(*ASKING, *events)).pending]


def test_open_questions_are_listed_in_the_order_they_were_asked() -> None:
    kinds = [asked["kind"] for asked in fold(number(*ASKING)).pending]
    assert kinds == ["confirmation", "ask_user", "ask_choice"]


def test_an_answer_or_a_result_closes_a_question() -> None:
    assert open_ids(e.Approved("refund", "int_a", "a")) == ["int_b", "int_c"]
    assert open_ids(e.Denied("refund", "int_a", "a")) == ["int_b", "int_c"]
    assert open_ids(ended("b")) == ["int_a", "int_c"]


def test_the_last_title_counts_during_a_run_and_beside_it() -> None:
    assert fold(number(init(), e.TitleChanged("One"), done())).title == "One"
    assert fold(number(init(), e.TitleChanged("One"), done(), e.TitleChanged("Two"))).title == "Two"
    assert Transcript().title == ""
