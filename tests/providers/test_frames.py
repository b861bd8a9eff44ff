"""The fake's frames are the vendors': every one parses strictly through the SDK's own types."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from anthropic.types import RawMessageStreamEvent
from google import genai
from google.genai import types as google_types
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from agentsite.fakemodel import (
    FakeModel,
    anthropic as fake_anthropic,
    google as fake_google,
    openai_chat as fake_chat,
    openai_responses as fake_responses,
)
from agentsite.fakemodel.frames import Wire
from agentsite.fakemodel.plan import PlannedError, find_plan
from agentsite.providers.sse import SseSplitter
from tests.providers.asking import directive

PLANS: list[dict[str, Any]] = [
    {"deltas": 3},
    {"deltas": 2, "thinking": "hm", "usage": {"input": 5, "cache_read": 9, "reasoning": 3}},
    {"tools": [{"name": "look", "arguments": {"q": 1}}, {"name": "look"}], "chars": 4},
    {"text": "Half of", "stop": "max_tokens"},
    {"text": "I cannot", "stop": "refusal"},
]


def payloads(wire: Wire, plan: dict[str, Any]) -> Iterator[bytes]:
    frames = wire.build(find_plan(directive(plan), 0, "m"), "m", 100)
    splitter = SseSplitter()
    yield from splitter.feed(frames.opening + b"".join(frames.deltas) + frames.closing)
    assert splitter.rest == b""


@pytest.mark.parametrize("plan", PLANS)
class TestTypes:
    def test_anthropic_events_are_known_to_its_sdk(self, plan: dict[str, Any]) -> None:
        parse = pydantic.TypeAdapter(RawMessageStreamEvent).validate_json
        events = list(payloads(fake_anthropic.WIRE, plan))
        assert json.loads(events[0])["type"] == "message_start"
        assert json.loads(events[-1])["type"] == "message_stop"
        for event in events:
            if json.loads(event)["type"] != "ping":
                parse(event)

    def test_chat_chunks_are_known_to_its_sdk(self, plan: dict[str, Any]) -> None:
        *chunks, last = payloads(fake_chat.WIRE, plan)
        assert last == b"[DONE]"
        for chunk in chunks:
            ChatCompletionChunk.model_validate_json(chunk)

    def test_response_events_are_known_and_numbered(self, plan: dict[str, Any]) -> None:
        parse = pydantic.TypeAdapter(ResponseStreamEvent).validate_json
        events = list(payloads(fake_responses.WIRE, plan))
        for number, event in enumerate(events):
            parse(event)
            assert json.loads(event)["sequence_number"] == number
        assert json.loads(events[0])["type"] == "response.created"

    def test_google_chunks_are_known_to_its_sdk(self, plan: dict[str, Any]) -> None:
        """Its types refuse fields they do not know."""
        for chunk in payloads(fake_google.WIRE, plan):
            google_types.GenerateContentResponse.model_validate_json(chunk)


TOOLS_PLAN = {"deltas": 3, "thinking": "hm", "tools": [{"name": "look", "arguments": {"q": 1}}]}


async def test_anthropics_own_stream_reads_the_fake(fake: FakeModel) -> None:
    client = anthropic.AsyncAnthropic(api_key="k", base_url=fake.url, max_retries=0)
    async with client:
        tool: Any = {"name": "look", "input_schema": {"type": "object"}}
        async with client.messages.stream(
            model="m",
            max_tokens=99,
            tools=[tool],
            messages=[{"role": "user", "content": directive(TOOLS_PLAN)}],
        ) as stream:
            message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.stop_reason == "tool_use"


async def test_openais_own_chat_stream_reads_the_fake(fake: FakeModel) -> None:
    client = openai.AsyncOpenAI(api_key="k", base_url=fake.openai_url, max_retries=0)
    async with client:
        tool: Any = {"type": "function", "function": {"name": "look", "parameters": {}}}
        async with client.chat.completions.stream(
            model="m", tools=[tool], messages=[{"role": "user", "content": directive(TOOLS_PLAN)}]
        ) as stream:
            done = await stream.get_final_completion()
    calls = done.choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"q": 1}']


async def test_openais_own_responses_stream_reads_the_fake(fake: FakeModel) -> None:
    client = openai.AsyncOpenAI(api_key="k", base_url=fake.openai_url, max_retries=0)
    async with client, client.responses.stream(model="m", input=directive(TOOLS_PLAN)) as stream:
        done = await stream.get_final_response()
    assert [item.type for item in done.output] == ["reasoning", "message", "function_call"]


async def test_googles_own_stream_reads_the_fake(fake: FakeModel) -> None:
    options = google_types.HttpOptions(base_url=fake.url, api_version="v1beta")
    client = genai.Client(api_key="k", http_options=options)
    texts, calls = "", []
    with warnings.catch_warnings():
        # Its session class is one that aiohttp discourages.
        warnings.simplefilter("ignore", DeprecationWarning)
        stream = await client.aio.models.generate_content_stream(
            model="gemini-2.5-pro", contents=directive(TOOLS_PLAN)
        )
        async for chunk in stream:
            content = chunk.candidates[0].content if chunk.candidates else None
            for part in (content.parts if content else None) or []:
                texts += part.text or ""
                calls += [part.function_call.name] if part.function_call else []
    await client.aio.aclose()
    client.close()
    assert texts
    assert calls == ["look"]


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_errors_have_the_vendors_form(status: int) -> None:
    error = PlannedError(status, message="no", retry_after=2)
    headers, body = fake_anthropic.WIRE.refuse(error)
    assert json.loads(body)["type"] == "error"
    assert headers["retry-after"] == "2"
    assert set(json.loads(fake_chat.WIRE.refuse(error)[1])["error"]) == {
        "message",
        "type",
        "param",
        "code",
    }
    told = json.loads(fake_google.WIRE.refuse(error)[1])["error"]
    assert told["code"] == status
    assert told["details"][0]["retryDelay"] == "2s"
