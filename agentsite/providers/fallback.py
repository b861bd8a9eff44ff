"""Who answers when a model fails: the next of its chain, or itself again after a while.

A chain moves on, per request and never sticky, only before the first delta has left and never
after a bad request or a prompt that is too long. The last model is asked again, up to twice,
for what may pass: rate limits, server errors, silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast
from zlib import crc32

import msgspec

from agentsite.engine.deltas import Delta, UsageReported
from agentsite.engine.ports import Model, ModelRequest
from agentsite.providers import throttle as throttles
from agentsite.providers.base import ProviderError
from agentsite.providers.throttle import Throttle

_FALLS_BACK = frozenset({"rate_limited", "server", "timeout", "auth"})
_RETRIES = frozenset({"rate_limited", "server", "timeout"})


class RetryPolicy(msgspec.Struct, frozen=True):
    """How the last model of a chain is asked again."""

    retries: int = 2
    first_wait: float = 0.5
    """Seconds before the first retry; doubled for each further one."""
    longest_wait: float = 30.0
    """A vendor that asks for more than this is not waited for."""


class Observer(Protocol):
    """Told what happens to a request. Only `admit` may take its time, or raise."""

    async def admit(self, model: Model, request: ModelRequest) -> ModelRequest:
        """A call is wanted: what may be asked for. What it raises ends the asking."""

    def asked(self, model: Model) -> None:
        """A call is about to be made: one model call row."""

    def failed(self, model: Model, error: ProviderError) -> None:
        """The call that was asked failed, before or after its first delta."""

    def switched(self, source: Model, target: Model, error: ProviderError) -> None:
        """The next model of the chain takes over."""

    def retrying(self, model: Model, error: ProviderError, seconds: float) -> None:
        """The same model will be asked again after `seconds`."""


async def stream_with_fallback(
    models: Sequence[Model],
    request: ModelRequest,
    observer: Observer,
    policy: RetryPolicy | None = None,
    *,
    throttle: Throttle = throttles.PROCESS,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> AsyncGenerator[tuple[Delta, ...]]:
    """Yield the batches of the first model of `models` that answers.

    Raises the last ProviderError; ValueError for an empty chain. Usage that comes before any
    content is held until content follows, so that a failed call leaves nothing behind.
    """
    if not models:
        raise ValueError("a chain needs at least one model")
    rules = policy or RetryPolicy()
    at = tries = 0
    while True:
        model = models[at]
        last = at == len(models) - 1
        asked = left = False
        try:
            await take_turn(model, last, rules, throttle, sleep)
            admitted = await observer.admit(model, request)
            asked = True
            observer.asked(model)
            answer = cast(AsyncGenerator[tuple[Delta, ...]], model.stream(admitted))
            async with aclosing(answer) as batches:
                if first := await find_content(batches):
                    left = True
                    yield first
                async for batch in batches:
                    yield batch
            throttle.ease(limit_key(model))
            return
        except ProviderError as error:
            if asked:
                observer.failed(model, error)
                slow_down(throttle, model, error)
            if left or error.kind not in _FALLS_BACK:
                raise
            if not last:
                at += 1
                observer.switched(model, models[at], error)
                continue
            seconds = retry_wait(error, tries, rules, request.session_id)
            if seconds is None:
                raise
            tries += 1
            observer.retrying(model, error, seconds)
        await sleep(seconds)


def slow_down(throttle: Throttle, model: Model, error: ProviderError) -> None:
    """Brake the calls of this key, if it was told that there were too many."""
    if error.kind == "rate_limited":
        throttle.slow(limit_key(model), error.retry_after)


async def take_turn(
    model: Model,
    last: bool,
    rules: RetryPolicy,
    throttle: Throttle,
    sleep: Callable[[float], Awaitable[Any]],
) -> None:
    """Wait for this key's brake; raises instead where the chain goes on or the wait is long."""
    key = limit_key(model)
    wait = throttle.wait(key)
    if wait <= 0:
        throttle.start(key)
        return
    if not last or wait > rules.longest_wait:
        text = f"calls with this key are paused for {wait:.0f} s after a rate limit"
        raise ProviderError("rate_limited", text, model.provider, model.name, retry_after=wait)
    await sleep(throttle.start(key))


async def find_content(batches: AsyncIterator[tuple[Delta, ...]]) -> tuple[Delta, ...]:
    """Return all up to the first batch with content; usage alone, if nothing else comes."""
    held: tuple[Delta, ...] = ()
    async for batch in batches:
        held += batch
        if not all(isinstance(delta, UsageReported) for delta in batch):
            break
    return held


def retry_wait(
    error: ProviderError, tries: int, rules: RetryPolicy, session_id: str
) -> float | None:
    """Return the seconds before asking the same model again, None to give up."""
    if tries >= rules.retries or error.kind not in _RETRIES:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= rules.longest_wait else None
    # Sessions that failed together do not come back together.
    spread = 1 + (crc32(session_id.encode()) % 1000) / 4000
    return min(rules.longest_wait, rules.first_wait * spread * 2.0**tries)


def limit_key(model: Model) -> str:
    """Return the key whose rate limit a model's calls count against."""
    return getattr(model, "limit_key", f"{model.provider}/{model.name}")
