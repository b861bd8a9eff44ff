"""Strategies for histories: sound ones, and heaps of parts in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from agentsite.engine.messages import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

call_ids = st.sampled_from([f"tc_{n}" for n in range(6)])
texts = st.sampled_from(["", " ", "hello", "a longer text " * 20])
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, texts),
    st.just(ImagePart("image/png", data="AAAA")),
    st.builds(ThinkingPart, texts),
    st.builds(ToolCallPart, call_ids, st.just("look"), st.just({"q": 1})),
    st.builds(
        ToolResultPart,
        call_ids,
        st.just("look"),
        st.sampled_from(["ok", "error"]),
        st.tuples(st.builds(TextPart, texts)),
    ),
)
heaps = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant", "tool", "summary"]),
        parts=st.lists(parts, max_size=4).map(tuple),
        id=st.sampled_from(["", "m_1", "m_2", "m_3"]),
    ),
    max_size=12,
).map(tuple)
"""Histories as no sound program writes them."""


def make_run(number: int, turns: int, size: int = 40) -> tuple[Message, ...]:
    """A user message, turns with two calls each, an answer."""
    messages = [Message("user", (TextPart(f"question {number}"),), f"u_{number}")]
    for turn in range(turns):
        calls = [ToolCallPart(f"tc_{number}_{turn}_{k}", "look", {"k": k}) for k in (0, 1)]
        results = [
            ToolResultPart(call.id, call.name, "ok", (TextPart("r" * size),)) for call in calls
        ]
        messages.append(Message("assistant", tuple(calls), f"a_{number}_{turn}"))
        messages.append(Message("tool", tuple(results), f"t_{number}_{turn}"))
    messages.append(Message("assistant", (TextPart(f"answer {number}"),), f"a_{number}"))
    return tuple(messages)


@st.composite
def sound_histories(draw: st.DrawFn) -> tuple[Message, ...]:
    """Runs one after the other; the last may stand in the middle."""
    shapes = draw(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([10, 400])), max_size=9))
    messages: tuple[Message, ...] = ()
    for number, (turns, size) in enumerate(shapes):
        messages += make_run(number, turns, size)
    if messages and draw(st.booleans()):
        messages = messages[:-1]
    return messages


def assert_paired(messages: tuple[Message, ...]) -> None:
    """Each call is followed directly by its one result, in call order, and by nothing else."""
    for index, message in enumerate(messages):
        ids = [call.id for call in message.tool_calls]
        if ids:
            following = messages[index + 1]
            assert following.role == "tool"
            assert [result.call_id for result in following.tool_results] == ids
        if message.role == "tool":
            assert index
            assert messages[index - 1].tool_calls
