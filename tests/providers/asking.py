"""How the tests ask: a config per wire, a directive per message, an answer folded to values."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from agentsite.engine.assemble import Assembly
from agentsite.engine.deltas import Delta, StopReason, Usage
from agentsite.engine.messages import Message, user_message
from agentsite.engine.ports import ModelRequest, ToolSpec
from agentsite.fakemodel import FakeModel
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import ProviderError, VendorModel
from agentsite.providers.registry import build

LOOK = ToolSpec("look", "Look something up.", {"type": "object", "properties": {"q": {}}})
WAIT = ToolSpec("wait", "Wait a little.", {"type": "object", "properties": {"s": {}}})


class Variant(msgspec.Struct, frozen=True):
    """One wire: a provider, and for openai which of its APIs."""

    provider: str
    model: str
    api: str | None = None

    def __str__(self) -> str:
        return self.api or self.provider

    def config(self, fake: FakeModel, **more: Any) -> ModelConfig:
        url = fake.openai_url if self.provider == "openai" else fake.url
        given = {"base_url": url, "credentials": {"api_key": "sk-test-0123456789abcdef"}}
        return ModelConfig(provider=self.provider, model=self.model, api=self.api, **(given | more))

    def model_of(self, fake: FakeModel, **more: Any) -> VendorModel:
        return build(self.config(fake, **more), {})


ANTHROPIC = Variant("anthropic", "claude-sonnet-4-20250514")
CHAT = Variant("openai", "gpt-5", "chat")
RESPONSES = Variant("openai", "gpt-5", "responses")
GOOGLE = Variant("google", "gemini-3-pro")
VARIANTS = (ANTHROPIC, CHAT, RESPONSES, GOOGLE)


class Answer(msgspec.Struct):
    """What came of one call."""

    batches: list[tuple[Delta, ...]]
    message: Message
    usage: Usage
    stopped: StopReason | None

    @property
    def deltas(self) -> list[Delta]:
        return [delta for batch in self.batches for delta in batch]


_numbers = itertools.count(1)


def directive(*plans: dict[str, Any]) -> str:
    """The user text that makes the fake follow `plans`, one per model call."""
    told = plans[0] if len(plans) == 1 else list(plans)
    return f"Hello. @@fake {json.dumps(told)}@@"


def ask(*plans: dict[str, Any], **more: Any) -> ModelRequest:
    return ModelRequest("Be brief.", (user_message(directive(*plans)),), **more)


async def collect(model: VendorModel, request: ModelRequest) -> Answer:
    batches = []
    async with aclosing(model.stream(request)) as stream:  # type: ignore[type-var]
        async for batch in stream:
            batches.append(batch)
    return fold(batches, model.provider)


def fold(batches: Sequence[tuple[Delta, ...]], provider: str) -> Answer:
    assembly = Assembly()
    for batch in batches:
        assembly.feed(batch)
    message = assembly.message(lambda: f"tc_{next(_numbers)}", provider)
    return Answer(list(batches), message, assembly.usage, assembly.stopped)


async def fail(model: VendorModel, request: ModelRequest) -> tuple[ProviderError, list[Delta]]:
    """The error a call ends with, and the deltas that came before it."""
    seen: list[Delta] = []
    try:
        async with aclosing(model.stream(request)) as stream:  # type: ignore[type-var]
            async for batch in stream:
                seen += batch
    except ProviderError as error:
        return error, seen
    raise AssertionError("the call was expected to fail")
