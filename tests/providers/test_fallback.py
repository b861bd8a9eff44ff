"""Who answers after a failure: the matrix of kinds, places in the chain and moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from agentsite.engine.deltas import Delta, Stopped, TextDelta, Usage, UsageReported
from agentsite.engine.messages import user_message
from agentsite.engine.ports import ErrorKind, Model, ModelRequest
from agentsite.fakemodel import FakeModel
from agentsite.providers.base import ProviderError
from agentsite.providers.fallback import RetryPolicy, stream_with_fallback
from agentsite.providers.registry import build_chain
from agentsite.providers.throttle import Throttle
from tests.providers.asking import ANTHROPIC, CHAT, ask

REQUEST = ModelRequest("", (user_message("hi"),), session_id="s_1")
ANSWER: tuple[tuple[Delta, ...], ...] = ((TextDelta("yes"),), (Stopped("end"),))
PASSING: tuple[ErrorKind, ...] = ("rate_limited", "server", "timeout", "auth")
FINAL: tuple[ErrorKind, ...] = ("bad_request", "context_overflow")


class Played:
    """A model that plays one entry of its list per call: batches, then maybe an error."""

    def __init__(self, name: str, *plays: Sequence[tuple[Delta, ...] | ProviderError]) -> None:
        self.provider, self.name, self.limit_key = "fake", name, name
        self.plays = list(plays)
        self.closed = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...]]:
        try:
            for item in self.plays.pop(0):
                if isinstance(item, ProviderError):
                    raise item
                yield item
        finally:
            self.closed += 1


class Witness:
    """Writes down what it is told, and the seconds it would have slept."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.now = 0.0

    async def admit(self, model: Model, request: ModelRequest) -> ModelRequest:
        return request

    def asked(self, model: Model) -> None:
        self.told.append(f"asked {model.name}")

    def failed(self, model: Model, error: ProviderError) -> None:
        self.told.append(f"failed {model.name} {error.kind}")

    def switched(self, source: Model, target: Model, error: ProviderError) -> None:
        self.told.append(f"switched {source.name} {target.name}")

    def retrying(self, model: Model, error: ProviderError, seconds: float) -> None:
        self.told.append(f"retrying {model.name}")

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def error(kind: ErrorKind, wait: float | None = None) -> ProviderError:
    return ProviderError(kind, "no", "fake", "m", retry_after=wait)


async def run(
    models: Sequence[Model], witness: Witness, throttle: Throttle | None = None
) -> list[Delta]:
    brakes = throttle or Throttle(lambda: witness.now)
    seen: list[Delta] = []
    stream = stream_with_fallback(models, REQUEST, witness, throttle=brakes, sleep=witness.sleep)
    async with aclosing(stream) as batches:
        async for batch in batches:
            seen += batch
    return seen


@pytest.mark.parametrize("kind", PASSING)
async def test_the_next_model_answers_when_the_first_fails(kind: ErrorKind) -> None:
    witness = Witness()
    seen = await run([Played("a", [error(kind)]), Played("b", ANSWER)], witness)
    assert seen == [TextDelta("yes"), Stopped("end")]
    assert witness.told == ["asked a", f"failed a {kind}", "switched a b", "asked b"]
    assert witness.now == 0  # nobody waits while there is another model


@pytest.mark.parametrize("kind", FINAL)
async def test_a_bad_request_never_falls_back(kind: ErrorKind) -> None:
    witness = Witness()
    with pytest.raises(ProviderError, match="no"):
        await run([Played("a", [error(kind)]), Played("b", ANSWER)], witness)
    assert witness.told == ["asked a", f"failed a {kind}"]


@pytest.mark.parametrize("kind", PASSING + FINAL)
async def test_nothing_follows_once_a_delta_has_left(kind: ErrorKind) -> None:
    witness = Witness()
    broken = [(TextDelta("ye"),), error(kind)]
    with pytest.raises(ProviderError):
        await run([Played("a", broken), Played("b", ANSWER)], witness)
    assert witness.told == ["asked a", f"failed a {kind}"]


async def test_usage_alone_has_not_left() -> None:
    """Anthropic reports usage first; an overload right after it may still fall back."""
    early = UsageReported(Usage(input=9))
    witness = Witness()
    seen = await run([Played("a", [(early,), error("server")]), Played("b", ANSWER)], witness)
    assert seen == [TextDelta("yes"), Stopped("end")]


async def test_usage_keeps_its_place_before_the_content() -> None:
    early = UsageReported(Usage(input=9))
    seen = await run([Played("a", [(early,), *ANSWER])], Witness())
    assert seen == [early, TextDelta("yes"), Stopped("end")]


@pytest.mark.parametrize("kind", ["rate_limited", "server", "timeout"])
async def test_the_last_model_is_asked_twice_more(kind: ErrorKind) -> None:
    witness = Witness()
    last = Played("b", [error(kind)], [error(kind)], ANSWER)
    seen = await run([Played("a", [error("server")]), last], witness)
    assert seen[-1] == Stopped("end")
    assert witness.told.count("asked b") == 3
    assert witness.told.count("retrying b") == 2
    assert witness.now > 1


async def test_after_two_retries_the_error_is_raised() -> None:
    witness = Witness()
    with pytest.raises(ProviderError):
        await run([Played("a", *[[error("server")]] * 3)], witness)
    assert witness.told.count("asked a") == 3


async def test_authentication_is_not_tried_again() -> None:
    witness = Witness()
    with pytest.raises(ProviderError):
        await run([Played("a", [error("auth")])], witness)
    assert witness.told == ["asked a", "failed a auth"]


async def test_the_vendors_wait_is_honoured() -> None:
    witness = Witness()
    await run([Played("a", [error("rate_limited", 13.0)], ANSWER)], witness)
    assert witness.now == pytest.approx(13.0)


async def test_a_wait_that_is_too_long_is_not_waited_for() -> None:
    witness = Witness()
    with pytest.raises(ProviderError):
        await run([Played("a", [error("rate_limited", 31.0)], ANSWER)], witness)
    assert witness.now == 0


async def test_a_chain_is_not_sticky() -> None:
    witness = Witness()
    first = Played("a", [error("server")], ANSWER)
    models = [first, Played("b", ANSWER, ANSWER)]
    await run(models, witness)
    await run(models, witness)
    assert witness.told[-1] == "asked a"


async def test_a_429_slows_every_call_of_its_key() -> None:
    witness = Witness()
    throttle = Throttle(lambda: witness.now)
    first = Played("a", [error("rate_limited", 9.0)], ANSWER)
    await run([first, Played("b", ANSWER)], witness, throttle)
    other = Played("a", ANSWER)
    await run([other, Played("b", ANSWER)], witness, throttle)
    assert witness.told[-2:] == ["switched a b", "asked b"]  # a was not even asked
    assert other.plays
    await run([other], witness, throttle)  # without another model the brake is waited for
    assert witness.now == pytest.approx(9.0)
    assert witness.told[-1] == "asked a"


async def test_leaving_closes_the_models_stream() -> None:
    model = Played("a", ANSWER)
    stream = stream_with_fallback([model], REQUEST, Witness(), throttle=Throttle())
    async with aclosing(stream) as batches:
        async for _ in batches:
            break
    assert model.closed == 1


async def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        await run([], Witness())


def test_retries_spread_over_sessions_and_grow() -> None:
    from agentsite.providers.fallback import retry_wait

    rules = RetryPolicy()
    waits = {retry_wait(error("server"), 0, rules, f"s_{n}") for n in range(50)}
    assert len(waits) > 30
    assert all(wait is not None and 0.5 <= wait <= 0.625 for wait in waits)
    assert retry_wait(error("server"), 1, rules, "s") == 2 * (
        retry_wait(error("server"), 0, rules, "s") or 0
    )


async def test_a_configured_chain_falls_back_over_http(fake: FakeModel) -> None:
    second = CHAT.config(fake)
    first = ANTHROPIC.config(fake, fallback=second)
    plan = {"model": ANTHROPIC.model, "error": {"status": 529}}
    witness = Witness()
    seen: list[Delta] = []
    models = build_chain(first, {})
    async with aclosing(
        stream_with_fallback(models, ask(plan), witness, throttle=Throttle())
    ) as batches:
        async for batch in batches:
            seen += batch
    assert seen[-1] == Stopped("end")
    assert [r.vendor for r in fake.requests] == ["anthropic", "openai"]
