"""Where history is cut, and what the summariser reads."""

from __future__ import annotations

from hypothesis import given, strategies as st

from agentsite.engine.compaction import (
    LEFT_OUT,
    SUMMARY_INSTRUCTION,
    render_for_summary,
    split_for_compaction,
    summary_message,
    window_cut,
)
from agentsite.engine.history import repair
from agentsite.engine.messages import (
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from agentsite.engine.tokens import estimate
from tests.engine.histories import assert_paired, make_run, sound_histories


@given(sound_histories().map(repair), st.integers(50, 4_000), st.integers(1, 6))
def test_a_split_keeps_pairs_runs_and_half_the_window(
    messages: tuple[Message, ...], window: int, keep: int
) -> None:
    older, recent = (split := split_for_compaction(messages, window, keep)).older, split.recent
    assert older + recent == messages
    assert_paired(older)
    assert_paired(recent)
    assert sum(message.role == "user" for message in recent) <= keep or not older
    if older and estimate(recent) > window // 2:
        turns = [m for m in recent if m.role != "tool"]
        assert len(turns) == 1  # one turn always stays


def test_six_runs_stay_word_for_word() -> None:
    messages = tuple(m for number in range(9) for m in make_run(number, 1))
    split = split_for_compaction(messages, 100_000)
    assert split.recent[0].text == "question 3"


def test_fewer_runs_stay_when_six_exceed_half_the_window() -> None:
    messages = tuple(m for number in range(9) for m in make_run(number, 1, size=4_000))
    split = split_for_compaction(messages, 10_000)
    assert split.recent[0].text == "question 7"


def test_one_very_long_run_is_cut_at_a_turn() -> None:
    messages = make_run(0, 40, size=400)
    split = split_for_compaction(messages, 4_000)
    assert split.older[0].role == "user"
    assert split.recent[0].role == "assistant"
    assert estimate(split.recent) <= 2_000
    assert_paired(split.recent)


def test_an_earlier_summary_alone_is_not_summarised_again() -> None:
    messages = (summary_message("before"), *make_run(0, 1))
    assert split_for_compaction(messages, 100_000).older == ()
    assert split_for_compaction((), 100).recent == ()


@given(sound_histories().map(repair), st.integers(10, 4_000))
def test_a_window_cut_keeps_the_task_and_whole_turns(
    messages: tuple[Message, ...], window: int
) -> None:
    cut = window_cut(messages, window)
    assert_paired(cut)
    if not messages:
        assert cut == ()
        return
    assert cut[0].text.startswith(messages[0].text)
    assert cut[-1] == messages[-1]
    if cut != messages:
        assert cut[0].parts[-1] == TextPart(LEFT_OUT)
        turns = [message for message in cut[1:] if message.role != "tool"]
        assert estimate(cut) <= window or len(turns) == 1


def test_a_window_cut_stays_in_place_while_history_grows() -> None:
    starts = {window_cut(make_run(0, turns), 1_200)[1].id for turns in range(60, 66)}
    assert len(starts) <= 2


def test_a_summary_before_the_task_stays() -> None:
    messages = (summary_message("before"), *make_run(0, 60))
    cut = window_cut(messages, 1_000)
    assert cut[0] == messages[0]
    assert cut[1].text.startswith("question 0")
    assert len(cut) < len(messages)


def test_the_summariser_reads_roles_calls_and_short_results() -> None:
    text = render_for_summary(
        [
            summary_message("before"),
            user_message("look", ImagePart("image/png", data="AAAA")),
            Message("assistant", (ThinkingPart("hm"), ToolCallPart("tc_1", "look", {"a": 1}))),
            Message("tool", (ToolResultPart("tc_1", "look", "error", (TextPart("x" * 3_000),)),)),
            Message("assistant", (ThinkingPart("hm"),)),
        ]
    )
    assert "SUMMARY: " in text
    assert "USER: look\n[image]" in text
    assert 'ASSISTANT: [tool_call: look({"a":1})]' in text
    assert f"TOOL_RESULT (look, error): {'x' * 2_000} [1000 more characters]" in text
    assert "hm" not in text


def test_a_rendering_for_a_small_model_loses_its_middle() -> None:
    messages = [user_message("first " + "x" * 9_000), user_message("y" * 9_000 + " last")]
    text = render_for_summary(messages, limit=1_000)
    assert text.startswith("USER: first")
    assert text.endswith(" last")
    assert LEFT_OUT in text
    assert len(text) < 1_200


def test_the_instruction_names_the_six_headings() -> None:
    headings = [line[3:] for line in SUMMARY_INSTRUCTION.splitlines() if line.startswith("## ")]
    assert headings == [
        "Current State",
        "Original Task",
        "Key Data",
        "Actions Taken",
        "Errors & Corrections",
        "Next Steps",
    ]
