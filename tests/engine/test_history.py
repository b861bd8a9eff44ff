"""History that any vendor accepts: repaired, cleared, cut."""

from __future__ import annotations

from hypothesis import given, strategies as st

from agentsite.engine.history import (
    CLEARED,
    UNFINISHED,
    clear_old_results,
    cut_content,
    cut_result,
    repair,
)
from agentsite.engine.messages import (
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from tests.engine.histories import assert_paired, heaps, make_run, sound_histories

CALL = ToolCallPart("tc_1", "look", {})
OTHER = ToolCallPart("tc_2", "look", {})


def result(call: ToolCallPart, text: str = "seen") -> ToolResultPart:
    return ToolResultPart(call.id, call.name, "ok", (TextPart(text),))


@given(heaps)
def test_repaired_history_is_sound_and_stays_as_it_is(messages: tuple[Message, ...]) -> None:
    repaired = repair(messages)
    assert repair(repaired) == repaired
    assert_paired(repaired)
    ids = [call.id for message in repaired for call in message.tool_calls]
    assert len(ids) == len(set(ids))
    assert {call.id for m in messages if m.role == "assistant" for call in m.tool_calls} == set(ids)
    for message in repaired:
        assert message.parts
        assert not all(isinstance(part, ThinkingPart) for part in message.parts)
        for part in message.parts:
            assert not isinstance(part, TextPart) or part.text.strip()
            assert isinstance(part, ToolResultPart) == (message.role == "tool")


@given(sound_histories())
def test_sound_history_keeps_its_messages(messages: tuple[Message, ...]) -> None:
    repaired = repair(messages)
    if not messages or not messages[-1].tool_calls:
        assert len(repaired) == len(messages)
        assert all(new is old for new, old in zip(repaired, messages, strict=True))


def test_a_missing_result_becomes_interrupted_without_naming_a_cause() -> None:
    repaired = repair([user_message("hi"), Message("assistant", (CALL, OTHER)), user_message("?")])
    assert [part.status for part in repaired[2].tool_results] == ["interrupted", "interrupted"]
    assert repaired[2].tool_results[0].content == (TextPart(UNFINISHED),)


def test_results_are_moved_to_their_calls_and_put_in_call_order() -> None:
    late = [
        user_message("hi"),
        Message("assistant", (CALL, OTHER)),
        Message("tool", (result(OTHER),)),
        user_message("well?"),
        Message("tool", (result(CALL), result(CALL, "again"))),
    ]
    repaired = repair(late)
    assert [message.role for message in repaired] == ["user", "assistant", "tool", "user"]
    assert repaired[2].parts == (result(CALL), result(OTHER))


def test_orphans_repetitions_and_blanks_are_dropped() -> None:
    messages = [
        user_message("hi", id="m_1"),
        user_message("hi", id="m_1"),
        Message("assistant", (TextPart(" "), ThinkingPart("hm"))),
        Message("tool", (result(CALL),)),
        Message("assistant", (TextPart("ok"),)),
    ]
    assert repair(messages) == (messages[0], messages[-1])


def test_the_same_words_twice_are_no_repetition() -> None:
    messages = (user_message("ok", id="m_1"), user_message("ok", id="m_2"))
    assert repair(messages) == messages


@given(sound_histories(), st.integers(1, 6), st.integers(0, 12))
def test_clearing_keeps_the_newest_and_is_idempotent(
    messages: tuple[Message, ...], keep: int, more: int
) -> None:
    above = keep + more
    cleared = clear_old_results(messages, keep, above)
    assert clear_old_results(cleared, keep, above) == cleared
    tool_messages = [(old, new) for old, new in zip(messages, cleared, strict=True)
                     if old.role == "tool"]  # fmt: skip
    whole = [old for old, new in tool_messages if new is old]
    assert len(whole) <= above
    assert [old for old, _ in tool_messages[-keep:]] == whole[-keep:]
    for old, new in tool_messages:
        assert [part.call_id for part in old.tool_results] == [
            part.call_id for part in new.tool_results
        ]


def test_the_sixteenth_tool_message_clears_all_but_five_and_then_the_prefix_rests() -> None:
    def texts(turns: int) -> list[bool]:
        messages = clear_old_results(make_run(0, turns))
        return [
            m.tool_results[0].content == (TextPart(CLEARED),) for m in messages if m.role == "tool"
        ]

    assert not any(texts(15))
    assert texts(16) == [True] * 11 + [False] * 5
    assert texts(26) == [True] * 11 + [False] * 15
    assert texts(27) == [True] * 22 + [False] * 5


@given(st.text("aé ", max_size=50), st.integers(1, 400), st.integers(2, 9_000))
def test_a_cut_keeps_both_ends_and_names_the_way_to_the_rest(
    seed: str, times: int, limit: int
) -> None:
    text = (seed + "x") * times
    cut = cut_result(text, "tc_7", limit)
    if len(text) <= limit:
        assert cut == text
        return
    ends = min(2_000, limit // 2)
    assert cut.startswith(text[:ends])
    assert cut.endswith(text[-ends:])
    assert len(cut) <= 2 * ends + 200
    assert "read_tool_result" in cut
    assert '"tc_7"' in cut


def test_cutting_content_keeps_its_images() -> None:
    image = ImagePart("image/png", data="AAAA")
    short = (TextPart("a"), image)
    assert cut_content(short, "tc_1") is short
    text, kept = cut_content((TextPart("a" * 15_000), image, TextPart("b" * 15_000)), "tc_1")
    assert kept is image
    assert isinstance(text, TextPart)
    assert text.text.startswith("a" * 2_000)
    assert text.text.endswith("b" * 2_000)
    assert "26001 of 30001" in text.text
