"""Every vendor through its real SDK: text, reasoning, parallel calls, usage, pace."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from agentsite.engine.deltas import Stopped, TextDelta, Usage, UsageReported
from agentsite.engine.messages import (
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from agentsite.engine.ports import ModelRequest
from agentsite.fakemodel import FakeModel
from tests.providers.asking import LOOK, VARIANTS, WAIT, Variant, ask, collect, directive

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="


async def test_text_arrives_whole_and_in_order(variant: Variant, fake: FakeModel) -> None:
    text = "Grüße aus Köln — 世界. " * 20
    answer = await collect(variant.model_of(fake), ask({"text": text, "chars": 7}))
    assert answer.message.text == text
    assert answer.stopped == "end"
    assert answer.deltas[-1] == Stopped("end")
    assert answer.usage.total > 0


async def test_reasoning_is_separate_from_the_answer(variant: Variant, fake: FakeModel) -> None:
    answer = await collect(
        variant.model_of(fake), ask({"text": "Forty-two.", "thinking": "six times seven"})
    )
    thoughts = [part for part in answer.message.parts if isinstance(part, ThinkingPart)]
    assert "".join(part.text for part in thoughts) == "six times seven"
    assert answer.message.text == "Forty-two."


async def test_parallel_calls_keep_their_arguments_apart(variant: Variant, fake: FakeModel) -> None:
    tools = [
        {"name": "look", "arguments": {"q": "one"}},
        {"name": "wait", "arguments": {"s": 3}},
        {"name": "look", "arguments": {}},
    ]
    request = ask({"tools": tools, "chars": 3}, tools=(LOOK, WAIT))
    answer = await collect(variant.model_of(fake), request)
    calls = answer.message.tool_calls
    assert [(call.name, call.arguments) for call in calls] == [
        ("look", {"q": "one"}),
        ("wait", {"s": 3}),
        ("look", {}),
    ]
    assert answer.stopped == "tool_calls"


async def test_usage_comes_in_disjoint_classes(variant: Variant, fake: FakeModel) -> None:
    told = {"input": 308, "cache_read": 118_424, "output": 111, "reasoning": 40}
    if variant.provider != "google":
        told["cache_write"] = 181
    if variant.provider == "anthropic":
        told["cache_write_1h"] = 7
    answer = await collect(variant.model_of(fake), ask({"usage": told, "text": "ok"}))
    assert answer.usage == Usage(**told)


async def test_usage_is_reported_before_the_end(variant: Variant, fake: FakeModel) -> None:
    answer = await collect(variant.model_of(fake), ask({"deltas": 3}))
    places = [i for i, d in enumerate(answer.deltas) if isinstance(d, UsageReported)]
    assert places
    assert places[-1] == len(answer.deltas) - 2


@pytest.mark.parametrize("stop", ["max_tokens", "refusal"])
async def test_other_ends_are_told(variant: Variant, fake: FakeModel, stop: str) -> None:
    answer = await collect(variant.model_of(fake), ask({"text": "Well", "stop": stop}))
    assert answer.stopped == stop


@pytest.mark.parametrize("variant", VARIANTS[:3], ids=str)
async def test_arguments_that_are_not_json_are_passed_through(
    variant: Variant, fake: FakeModel
) -> None:
    """Google parses arguments itself; what it does instead is in `test_failures`."""
    request = ask({"tools": [{"name": "look"}], "invalid_args": '{"q": oops'}, tools=(LOOK,))
    answer = await collect(variant.model_of(fake), request)
    assert answer.message.tool_calls[0].invalid == '{"q": oops'


async def test_pictures_go_to_the_model_and_come_with_results(
    variant: Variant, fake: FakeModel
) -> None:
    inline = ImagePart("image/png", data=PNG)
    linked = ImagePart("image/jpeg", url="https://pictures.example/cat.jpg")
    first = user_message(directive({"text": "A cat."}), inline, linked)
    call = ToolCallPart("tc_1", "look", {"q": "cat"})
    result = ToolResultPart("tc_1", "look", "ok", (TextPart("here"), inline))
    history = (first, Message("assistant", (call,)), Message("tool", (result,)))
    answer = await collect(variant.model_of(fake), ModelRequest("", history, (LOOK,)))
    assert answer.stopped == "end"
    sent = str(fake.requests[-1].body)
    assert sent.count(PNG) == 2
    assert "https://pictures.example/cat.jpg" in sent


async def test_deltas_are_handed_out_when_they_arrive(variant: Variant, fake: FakeModel) -> None:
    """The first text is here while the fake is still silent about the rest."""
    request = ask({"deltas": 5, "silence_after": 2})
    texts: list[str] = []
    async with (
        asyncio.timeout(5),
        aclosing(variant.model_of(fake).stream(request)) as stream,  # type: ignore[type-var]
    ):
        async for batch in stream:
            texts += [delta.text for delta in batch if isinstance(delta, TextDelta)]
            if len(texts) == 2:
                break
    assert len(texts) == 2


async def test_what_arrives_together_is_one_batch(variant: Variant, fake: FakeModel) -> None:
    answer = await collect(variant.model_of(fake), ask({"deltas": 2000}))
    assert len(answer.batches) < 500


async def test_a_connection_serves_the_next_call_too(variant: Variant, fake: FakeModel) -> None:
    model = variant.model_of(fake)
    for _ in range(3):
        await collect(model, ask({"deltas": 3}))
    assert len(fake._connections) == 1
    assert fake.left_streams == 0
