"""The fake server: one plan per call, refusals of unsound histories, records, pace."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import aiohttp
import pytest

from agentsite.engine.messages import (
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from agentsite.engine.ports import ModelRequest
from agentsite.fakemodel import FakeModel
from agentsite.fakemodel.plan import BadPlan, find_plan
from tests.providers.asking import ANTHROPIC, LOOK, Variant, ask, collect, directive


async def test_a_list_gives_one_plan_per_model_call(variant: Variant, fake: FakeModel) -> None:
    model = variant.model_of(fake)
    plans = ({"tools": [{"name": "look"}]}, {"text": "Second."})
    start = user_message(directive(*plans))
    first = await collect(model, ModelRequest("", (start,), (LOOK,)))
    call = first.message.tool_calls[0]
    result = Message("tool", (ToolResultPart(call.id, "look", "ok", (TextPart("x"),)),))
    history = (start, first.message, result)
    second = await collect(model, ModelRequest("", history, (LOOK,)))
    assert second.message.text == "Second."
    again = (*history, second.message, user_message("And without a plan?"))
    third = await collect(model, ModelRequest("", again, (LOOK,)))
    assert third.message.text.startswith("The quick brown fox")
    assert [recorded.problems for recorded in fake.requests] == [(), (), ()]


async def test_an_unsound_history_is_refused_like_the_vendor_does(
    variant: Variant, fake: FakeModel
) -> None:
    from tests.providers.asking import fail

    orphan = (user_message("hi"), Message("assistant", (ToolCallPart("tc_1", "look", {}),)))
    error, _ = await fail(variant.model_of(fake), ModelRequest("", orphan, (LOOK,)))
    assert (error.kind, error.status) == ("bad_request", 400)
    assert fake.requests[-1].problems


async def test_it_records_a_bounded_number_of_requests() -> None:
    async with FakeModel(keep=2) as fake, aiohttp.ClientSession() as session:
        for _ in range(5):
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            async with session.post(f"{fake.openai_url}/chat/completions", json=body) as answer:
                assert answer.status == 200
                await answer.read()
        assert len(fake.requests) == 2


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/messages"), ("POST", "/nowhere")])
async def test_other_paths_are_not_found(fake: FakeModel, method: str, path: str) -> None:
    async with aiohttp.request(method, fake.url + path) as answer:
        assert answer.status == 404


async def test_a_rate_is_kept(fake: FakeModel) -> None:
    started = time.monotonic()
    answer = await collect(ANTHROPIC.model_of(fake), ask({"deltas": 41, "rate": 100}))
    took = time.monotonic() - started
    assert 0.4 <= took < 2
    assert len(answer.batches) > 10


async def test_many_streams_at_once_all_end(fake: FakeModel) -> None:
    model = ANTHROPIC.model_of(fake)

    async def read() -> int:
        count = 0
        async with aclosing(model.stream(ask({"deltas": 20, "rate": 50}))) as stream:  # type: ignore[type-var]
            async for batch in stream:
                count += len(batch)
        return count

    async with asyncio.timeout(20):
        counts = await asyncio.gather(*(read() for _ in range(50)))
    assert set(counts) == {counts[0]}
    assert fake.open_streams == fake.left_streams == 0


def test_a_plan_may_be_for_one_model_only() -> None:
    text = directive({"text": "x", "model": "big"})
    assert find_plan(text, 0, "big").text == "x"
    assert find_plan(text, 0, "small").text is None


@pytest.mark.parametrize("text", ["@@fake {oops}@@", '@@fake {"delta": 5}@@', "@@fake 7@@"])
def test_a_directive_that_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(BadPlan, match="cannot be read"):
        find_plan(text, 0, "m")
