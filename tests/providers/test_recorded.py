"""Streams recorded by a vendor's own SDK (its test suite, its licence beside them): we read the
same out of them as that SDK does. OpenAI and Google publish none with their packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from msgspec.structs import replace

from agentsite.engine.deltas import Delta, Usage
from agentsite.providers.anthropic_stream import AnthropicDecoder
from tests.providers.asking import Answer, fold
from tests.providers.test_decoders import decode

RECORDED = Path(__file__).parent / "recorded" / "anthropic"
BROKEN = {"tool_use_invalid_json_response", "incomplete_partial_json_response"}
"""Arguments that are no JSON: the SDK gives up or makes do, and we tell the model."""


def ours(stream: bytes) -> Answer:
    deltas: list[Delta] = decode(AnthropicDecoder, [stream])
    return fold([tuple(deltas)], "anthropic")


async def theirs(stream: bytes) -> Any:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with (
        anthropic.AsyncAnthropic(api_key="k", http_client=http) as client,
        client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]
        ) as opened,
    ):
        return await opened.get_final_message()


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.txt")))
async def test_we_read_what_the_sdk_reads(name: str) -> None:
    stream = (RECORDED / f"{name}.txt").read_bytes()
    answer = ours(stream)
    if name in BROKEN:
        assert answer.message.tool_calls[0].invalid
        return
    message = await theirs(stream)
    texts = "".join(block.text for block in message.content if block.type == "text")
    assert answer.message.text == texts
    calls = [(c.id, c.name, c.input) for c in message.content if c.type == "tool_use"]
    assert [
        (c.provider_data["id"], c.name, c.arguments) for c in answer.message.tool_calls
    ] == calls
    usage = answer.usage
    assert replace(usage, output=usage.output + usage.reasoning, reasoning=0) == Usage(
        input=message.usage.input_tokens,
        cache_read=message.usage.cache_read_input_tokens or 0,
        cache_write=message.usage.cache_creation_input_tokens or 0,
        output=message.usage.output_tokens,
    )
