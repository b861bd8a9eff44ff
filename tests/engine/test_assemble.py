"""Deltas become a message, however they were cut."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from agentsite.engine.assemble import Assembly, assemble
from agentsite.engine.deltas import (
    Delta,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolCallArgs,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from agentsite.engine.messages import TextPart, ThinkingPart, ToolCallPart

words = st.text("aé {", max_size=9)


def number_ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"tc_{next(numbers)}"


def cut(delta: Delta, draw: st.DrawFn) -> list[Delta]:
    """The same delta in pieces."""

    def pieces(text: str) -> list[str]:
        places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        return [text[a:b] for a, b in itertools.pairwise([0, *places, len(text)])]

    match delta:
        case TextDelta(text):
            return [TextDelta(piece) for piece in pieces(text)]
        case ToolCallArgs(key, fragment):
            return [ToolCallArgs(key, piece) for piece in pieces(fragment)]
        case ThinkingDelta(text, data):
            *first, last = pieces(text)
            return [*(ThinkingDelta(piece) for piece in first), ThinkingDelta(last, data)]
        case _:
            return [delta]


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    deltas: list[Delta] = []
    started = 0
    for kind in draw(st.lists(st.sampled_from(["text", "think", "call", "args", "usage"]))):
        match kind:
            case "text":
                deltas.append(TextDelta(draw(words)))
            case "think":
                data = draw(st.sampled_from([None, {}, {"signature": "s"}]))
                deltas.append(ThinkingDelta(draw(words), data))
            case "call":
                deltas.append(ToolCallStarted(f"k{started}", "look", {"id": f"v{started}"}))
                started += 1
            case "args" if started:
                key = draw(st.integers(0, started - 1))
                text = draw(st.sampled_from(['{"a":', "1}", '{"ä":"\\u00e4"}', "[1]", "nope"]))
                deltas.append(ToolCallArgs(f"k{key}", text))
            case _:
                deltas.append(UsageReported(Usage(input=len(deltas))))
    return deltas


@given(st.data())
def test_nothing_depends_on_how_deltas_are_cut(data: st.DataObject) -> None:
    whole = data.draw(answers())
    cut_up = [piece for delta in whole for piece in cut(delta, data.draw)]
    assembly = Assembly()
    while cut_up:
        size = data.draw(st.integers(1, len(cut_up)))
        assembly.feed(cut_up[:size])
        cut_up = cut_up[size:]
    expected = assemble(whole, number_ids(), "p")
    assert assembly.message(number_ids(), "p") == expected
    assert assembly.text == expected.text


def test_parts_stand_in_the_order_in_which_they_began() -> None:
    message = assemble(
        [
            ThinkingDelta("hm"),
            ThinkingDelta("", {"signature": "s"}),
            TextDelta("I look."),
            ToolCallStarted("0", "look", {"id": "toolu_1"}),
            ToolCallStarted("1", "weigh"),
            ToolCallArgs("1", '{"kg":'),
            ToolCallArgs("0", '{"at":"sky"}'),
            ToolCallArgs("1", "2}"),
            Stopped("tool_calls"),
        ],
        number_ids(),
        "anthropic",
        id="m_1",
    )
    assert message.id == "m_1"
    assert message.parts == (
        ThinkingPart("hm", "anthropic", {"signature": "s"}),
        TextPart("I look."),
        ToolCallPart("tc_1", "look", {"at": "sky"}, None, "anthropic", {"id": "toolu_1"}),
        ToolCallPart("tc_2", "weigh", {"kg": 2}, None, "anthropic"),
    )


@pytest.mark.parametrize("raw", ["", "  \n"])
def test_no_arguments_are_an_empty_object(raw: str) -> None:
    (call,) = assemble([ToolCallStarted("0", "t"), ToolCallArgs("0", raw)], str, "p").tool_calls
    assert (call.arguments, call.invalid) == ({}, None)


@pytest.mark.parametrize(
    "raw",
    ['{"a":', "[1]", "null", '"x"', '{"a":NaN}', '{"a":"\ud800"}', '{"a":' * 100_000, '{"a":'
     + "[" * 70 + "]" * 70 + "}"],
    ids=["cut", "list", "null", "string", "nan", "surrogate", "bottomless", "deep"],
)  # fmt: skip
def test_what_is_no_json_object_is_kept_as_text(raw: str) -> None:
    (call,) = assemble([ToolCallStarted("0", "t"), ToolCallArgs("0", raw)], str, "p").tool_calls
    assert (call.arguments, call.invalid) == ({}, raw)


def test_ids_are_given_once() -> None:
    assembly = Assembly()
    assembly.feed([ToolCallStarted("0", "t")])
    ids = number_ids()
    assert assembly.message(ids, "p") == assembly.message(ids, "p")


def test_usage_and_stop_are_the_last_reported() -> None:
    assembly = Assembly()
    assembly.feed([UsageReported(Usage(input=1)), UsageReported(Usage(input=2, output=3))])
    assert assembly.stopped is None
    assembly.feed([Stopped("max_tokens")])
    assert (assembly.stopped, assembly.usage) == ("max_tokens", Usage(input=2, output=3))


def test_an_interrupted_answer_leaves_its_text_only() -> None:
    assembly = Assembly()
    assembly.feed([ThinkingDelta("hm"), TextDelta("Well"), ToolCallStarted("0", "t")])
    assert assembly.partial(id="m").parts == (TextPart("Well"),)


@pytest.mark.parametrize(
    "deltas",
    [[ToolCallArgs("0", "{}")], [ToolCallStarted("0", "a"), ToolCallStarted("0", "b")]],
    ids=["never begun", "begun twice"],
)
def test_a_broken_adapter_is_told(deltas: list[Delta]) -> None:
    with pytest.raises(ValueError, match="'0'"):
        Assembly().feed(deltas)
