"""Every way a vendor fails is one typed error, and nothing is left open or given away."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from agentsite.engine.deltas import TextDelta
from agentsite.fakemodel import FakeModel
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import ProviderError, classify, hide_secrets
from agentsite.providers.registry import build
from tests.providers.asking import GOOGLE, LOOK, VARIANTS, Variant, ask, fail

KINDS = [
    (400, "bad_request"),
    (401, "auth"),
    (403, "auth"),
    (404, "bad_request"),
    (429, "rate_limited"),
    (500, "server"),
    (503, "server"),
    (529, "server"),
]


@pytest.mark.parametrize(("status", "kind"), KINDS)
async def test_a_status_has_its_kind(
    variant: Variant, fake: FakeModel, status: int, kind: str
) -> None:
    request = ask({"error": {"status": status, "message": "No, thank you."}})
    error, seen = await fail(variant.model_of(fake), request)
    assert (error.kind, error.status, seen) == (kind, status, [])
    assert error.message == "No, thank you."
    assert (error.provider, error.model) == (variant.provider, variant.model)
    assert len(fake.requests) == 1  # the SDKs' own retries are off


async def test_a_rate_limit_says_how_long_to_wait(variant: Variant, fake: FakeModel) -> None:
    request = ask({"error": {"status": 429, "retry_after": 13}})
    error, _ = await fail(variant.model_of(fake), request)
    assert (error.kind, error.retry_after) == ("rate_limited", 13.0)


TOO_LONG = {
    "anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
    "openai": "Your input exceeds the context window of this model.",
    "google": "The input token count (1100000) exceeds the maximum number of tokens allowed.",
}


async def test_a_prompt_that_is_too_long_is_told_apart(variant: Variant, fake: FakeModel) -> None:
    request = ask({"error": {"status": 400, "message": TOO_LONG[variant.provider]}})
    error, _ = await fail(variant.model_of(fake), request)
    assert error.kind == "context_overflow"


async def test_an_error_event_inside_a_200_has_its_kind(variant: Variant, fake: FakeModel) -> None:
    for status, kind in ((429, "rate_limited"), (500, "server")):
        plan = {"deltas": 5, "error_event_after": 2, "error": {"status": status}}
        error, seen = await fail(variant.model_of(fake), ask(plan))
        assert error.kind == kind
        assert sum(isinstance(delta, TextDelta) for delta in seen) == 2


@pytest.mark.parametrize("cut", ["abort", "clean"])
@pytest.mark.parametrize("after", [0, 2])
async def test_a_cut_stream_is_a_server_error(
    variant: Variant, fake: FakeModel, cut: str, after: int
) -> None:
    error, seen = await fail(
        variant.model_of(fake), ask({"deltas": 5, "cut_after": after, "cut": cut})
    )
    assert error.kind == "server"
    assert sum(isinstance(delta, TextDelta) for delta in seen) == after


@pytest.mark.parametrize("plan", [{"silence_after": 2}, {"slow_first_ms": 60_000}])
async def test_silence_is_a_timeout(
    variant: Variant, fake: FakeModel, plan: dict[str, Any]
) -> None:
    model = variant.model_of(fake, timeout=0.9)  # the request itself has to arrive within it
    async with asyncio.timeout(30):
        error, _ = await fail(model, ask({"deltas": 5, **plan}))
    assert error.kind == "timeout"
    assert "0.9 seconds" in error.message
    await fake.wait_until(lambda fake: fake.left_streams == 1)


async def test_a_slow_stream_is_not_silent(variant: Variant, fake: FakeModel) -> None:
    """The limit counts from byte to byte, not over the whole answer."""
    model = variant.model_of(fake, timeout=0.5)
    texts = 0
    async with aclosing(model.stream(ask({"deltas": 12, "rate": 10}))) as stream:  # type: ignore[type-var]
        async for batch in stream:
            texts += sum(isinstance(delta, TextDelta) for delta in batch)
    assert texts == 12


async def test_leaving_the_iterator_closes_the_response(variant: Variant, fake: FakeModel) -> None:
    stream = variant.model_of(fake).stream(ask({"deltas": 500, "rate": 50}))
    async with aclosing(stream) as batches:  # type: ignore[type-var]
        async for _ in batches:
            break
    await fake.wait_until(lambda fake: fake.left_streams == 1 and fake.open_streams == 0)


async def test_cancelling_the_reader_closes_the_response(variant: Variant, fake: FakeModel) -> None:
    task = asyncio.create_task(fail(variant.model_of(fake), ask({"silence_after": 1})))
    await fake.wait_until(lambda fake: fake.open_streams == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fake.wait_until(lambda fake: fake.left_streams == 1)


async def test_a_server_that_is_not_there_is_a_server_error(
    variant: Variant, closing_clients: None
) -> None:
    async with FakeModel() as gone:
        model = variant.model_of(gone)
    error, _ = await fail(model, ask({}))
    assert error.kind == "server"


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google"])
async def test_a_model_without_a_key_fails_as_authentication(provider: str) -> None:
    model = build(ModelConfig(provider=provider, model="m"), {})
    error, _ = await fail(model, ask({}))
    assert error.kind == "auth"
    assert f"no API key for {provider}" in error.message


@pytest.mark.parametrize("variant", VARIANTS[1:3], ids=str)
async def test_a_server_of_ones_own_needs_no_key(variant: Variant, fake: FakeModel) -> None:
    model = variant.model_of(fake, credentials={})
    async with aclosing(model.stream(ask({}))) as stream:  # type: ignore[type-var]
        assert [batch async for batch in stream]


async def test_bedrock_needs_aws_credentials() -> None:
    model = build(ModelConfig(provider="anthropic", model="m", region="eu-west-1"), {})
    error, _ = await fail(model, ask({}))
    assert error.kind == "auth"
    assert "aws_access_key_id" in error.message


async def test_a_key_shows_up_nowhere(variant: Variant, fake: FakeModel) -> None:
    key = "sk-test-0123456789abcdef"
    model = variant.model_of(fake)
    message = f"Incorrect API key provided: {key}. Bearer {key}"
    error, _ = await fail(model, ask({"error": {"status": 401, "message": message}}))
    shown = (str(error), repr(error), error.message, repr(model), repr(vars(model)))
    assert not any(key in text for text in shown)
    assert key not in model.limit_key


async def test_google_reports_broken_arguments_as_a_failure_of_the_server(fake: FakeModel) -> None:
    request = ask({"tools": [{"name": "look"}], "invalid_args": "{oops"}, tools=(LOOK,))
    error, _ = await fail(GOOGLE.model_of(fake), request)
    assert error.kind == "server"
    assert "function call" in error.message


def test_types_win_over_statuses() -> None:
    assert classify(200, "", "overloaded_error") == "server"
    assert classify(429, "", "insufficient_quota") == "auth"
    assert classify(400, "API key not valid. Please pass one.", "INVALID_ARGUMENT") == "auth"
    assert classify(400, "Your credit balance is too low", "invalid_request_error") == "auth"
    assert classify(413, "", "request_too_large") == "context_overflow"
    assert classify(None, "whatever") == "server"
    assert classify(418, "") == "bad_request"


def test_messages_are_short_and_hold_no_keys() -> None:
    text = hide_secrets("key=abc123&x sk-ant-api03-abcdefgh AIzaSyA1234567890 Bearer abc.def")
    assert text == "key=[redacted]&x [redacted] [redacted] [redacted]"
    assert len(ProviderError("server", "x" * 5000, "p", "m").message) <= 500
