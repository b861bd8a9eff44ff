"""The second request of a client goes past the SDK, and nobody can tell but by the clock."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from agentsite.engine.deltas import TextDelta
from agentsite.fakemodel import FakeModel
from agentsite.providers import shortcut
from agentsite.providers.base import VendorModel
from tests.providers.asking import VARIANTS, Variant, ask, collect, fail

pytestmark = pytest.mark.parametrize("variant", VARIANTS[:3], ids=str)


async def known(variant: Variant, fake: FakeModel, **more: Any) -> VendorModel:
    """A model whose way is known by an earlier answer."""
    model = variant.model_of(fake, **more)
    assert (await collect(model, ask({}))).stopped == "end"
    assert [route for routes in shortcut._routes.values() for route in routes.values()]
    return model


async def test_both_ways_send_the_same(variant: Variant, fake: FakeModel) -> None:
    model = await known(variant, fake)
    await collect(model, ask({}))
    by_sdk, past_it = fake.requests
    assert past_it.headers == by_sdk.headers
    assert past_it.body == by_sdk.body


async def test_a_status_is_the_same_error(variant: Variant, fake: FakeModel) -> None:
    request = ask({"error": {"status": 429, "message": "Slow down.", "retry_after": 13}})
    by_sdk, _ = await fail(variant.model_of(fake), request)
    past_it, _ = await fail(await known(variant, fake), request)
    assert vars(past_it) == vars(by_sdk)
    assert (past_it.kind, past_it.status, past_it.retry_after) == ("rate_limited", 429, 13.0)


async def test_a_cut_is_an_error_after_what_came(variant: Variant, fake: FakeModel) -> None:
    model = await known(variant, fake)
    error, seen = await fail(model, ask({"deltas": 5, "cut_after": 2, "cut": "abort"}))
    assert error.kind == "server"
    assert sum(isinstance(delta, TextDelta) for delta in seen) == 2


@pytest.mark.parametrize("plan", [{"silence_after": 2}, {"slow_first_ms": 60_000}])
async def test_silence_is_a_timeout(
    variant: Variant, fake: FakeModel, plan: dict[str, Any]
) -> None:
    model = await known(variant, fake, timeout=0.3)
    async with asyncio.timeout(5):
        error, _ = await fail(model, ask({"deltas": 5, **plan}))
    assert error.kind == "timeout"
    assert "0.3 seconds" in error.message
    await fake.wait_until(lambda fake: fake.left_streams == 1)


async def test_leaving_closes_the_response(variant: Variant, fake: FakeModel) -> None:
    model = await known(variant, fake)
    async with aclosing(model.stream(ask({"deltas": 500, "rate": 50}))) as batches:  # type: ignore[type-var]
        async for _ in batches:
            break
    await fake.wait_until(lambda fake: fake.left_streams == 1 and fake.open_streams == 0)


async def test_a_server_that_went_away_is_a_server_error(
    variant: Variant, closing_clients: None
) -> None:
    async with FakeModel() as gone:
        model = await known(variant, gone)
    error, _ = await fail(model, ask({}))
    assert error.kind == "server"


async def test_a_known_way_shows_no_key(variant: Variant, fake: FakeModel) -> None:
    await known(variant, fake)
    assert "sk-test" not in repr(dict(shortcut._routes))
