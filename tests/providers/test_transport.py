"""How bytes are read: below the SDKs' layers, bounded, never silent for ever, either way."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from agentsite.fakemodel import FakeModel
from agentsite.providers.registry import build_chain, warm
from agentsite.providers.transport import find_aiohttp_content, post, read_slowly
from tests.providers.asking import ANTHROPIC, CHAT, GOOGLE, ask, collect


def sdk_clients(fake: FakeModel) -> list[tuple[Any, str]]:
    claude = anthropic.AsyncAnthropic(
        api_key="k", base_url=fake.url, http_client=anthropic.DefaultAioHttpClient()
    )
    gpt = openai.AsyncOpenAI(
        api_key="k", base_url=fake.openai_url, http_client=openai.DefaultAioHttpClient()
    )
    return [(claude, "/v1/messages"), (gpt, "/chat/completions")]


BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


async def test_the_short_way_to_the_bytes_is_open(fake: FakeModel) -> None:
    """Fails when an SDK moves its aiohttp response: then every read takes the long way."""
    for client, path in sdk_clients(fake):
        async with client:
            response = await client.post(path, cast_to=httpx2.Response, body=BODY, stream=True)
            assert find_aiohttp_content(response) is not None
            response.headers["content-encoding"] = "gzip"
            assert find_aiohttp_content(response) is None
            await response.aclose()


async def test_both_ways_read_the_same(fake: FakeModel) -> None:
    for client, path in sdk_clients(fake):
        async with client:
            response = await client.post(path, cast_to=httpx2.Response, body=BODY, stream=True)
            slow = await drain(read_slowly(response.aiter_bytes(), 5))
            async with post(client, path, BODY, 5) as read:
                fast = await drain(read)
            assert strip_numbers(slow) == strip_numbers(fast)


async def drain(read: Any) -> bytes:
    chunks = []
    while chunk := await read():
        chunks.append(chunk)
    return b"".join(chunks)


def strip_numbers(stream: bytes) -> bytes:
    return re.sub(rb"fake\d+", b"fake", stream)


async def test_the_long_way_is_not_silent_for_ever_either() -> None:
    async def say_one() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.Event().wait()

    read = read_slowly(say_one(), 0.05)
    assert await read() == b"one"
    with pytest.raises(TimeoutError):
        await read()


async def test_a_reader_that_pauses_is_not_taken_for_silence(fake: FakeModel) -> None:
    """Whoever reads may take longer than the limit between two reads."""
    for client, path in sdk_clients(fake):
        async with client, post(client, path, BODY, 0.1) as read:
            paused = asyncio.Event()
            asyncio.get_running_loop().call_later(0.3, paused.set)
            await paused.wait()
            assert b"data" in await drain(read)


async def test_sdks_and_clients_can_be_had_beforehand(
    fake: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ANTHROPIC.config(fake, fallback=CHAT.config(fake, fallback=GOOGLE.config(fake)))
    await warm(chain)
    assert {"anthropic", "openai", "google.genai"} <= set(sys.modules)
    for made in ("anthropic.AsyncAnthropic", "openai.AsyncOpenAI", "google.genai.Client"):
        monkeypatch.setattr(made, None)  # it would be too late now
    for model in build_chain(chain, {}):
        assert (await collect(model, ask({}))).stopped == "end"


async def test_a_model_that_cannot_be_asked_keeps_nobody_from_starting(
    fake: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ANTHROPIC.config(fake).model_copy(update={"base_url": "https://host:port"})
    await warm(broken)
    assert "cannot be asked yet" in caplog.text


def test_the_fake_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "agentsite.fakemodel", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline().startswith("fake model on http://127.0.0.1:")
        finally:
            program.terminate()
