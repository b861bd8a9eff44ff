"""The most that a model call can cost, before it is made: what budgets keep back for it.

Law: never too low. No tokenizer makes more tokens than there are bytes; of what a vendor has
counted already only the new part is estimated. Where a price is unknown a dear one stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from agentsite.engine.deltas import Usage
from agentsite.engine.messages import ImagePart, Message, ToolResultPart
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.providers.catalog import Priced, price_by_override

FRAMING = 1_000
"""Tokens that vendors add of their own: how tools are called, roles, markers."""
IMAGE_TOKENS = {"openai": 50_000}
MOST_IMAGE_TOKENS = 5_000
ANSWER_TOKENS = {"google": 8_192}
MOST_ANSWER_TOKENS = 16_384
"""Where nobody says how long an answer may be; every current model can answer at this length."""
LEAST_ANSWER_TOKENS = 1_024
UNKNOWN = {"input": 30, "output": 150}
"""US dollars per million tokens, where the price is unknown: as dear as models get."""

Pricing = Callable[[Usage], Priced]


class Known(msgspec.Struct, frozen=True):
    """A request whose tokens the vendor has counted."""

    label: str
    messages: tuple[Message, ...]
    tokens: int


def input_ceiling(request: ModelRequest, label: str, known: Known | None = None) -> int:
    """The most tokens that a request can come to, for the model `provider/name`."""
    provider = label.partition("/")[0]
    bare = len(request.system.encode("utf-8", "surrogatepass")) + FRAMING
    bare += len(msgspec.json.encode(request.tools))
    whole = bare + _size(request.messages, provider)
    if known is None or known.label != label:
        return whole
    before = known.messages
    fresh = [
        message
        for place, message in enumerate(request.messages)
        if place >= len(before) or message != before[place]
    ]
    return min(whole, known.tokens + _size(fresh, provider) + FRAMING)


def _size(messages: Sequence[Message], provider: str) -> int:
    total = 0
    for message in messages:
        total += len(msgspec.json.encode(message))
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResultPart) else (part,)
            for each in inner:
                if isinstance(each, ImagePart):
                    total += IMAGE_TOKENS.get(provider, MOST_IMAGE_TOKENS) - len(each.data or "")
    return total


def answer_ceiling(request: ModelRequest, config: ModelConfig) -> int:
    """Tokens that an answer may have: what request or config say, else what models can do."""
    said = request.max_tokens or config.max_tokens
    if said is not None:
        return said
    if config.provider == "anthropic":
        from agentsite.providers.anthropic import default_limit

        return default_limit(config.model)
    return ANSWER_TOKENS.get(config.provider, MOST_ANSWER_TOKENS)


def cost_ceiling(pricing: Pricing, tokens: int, answer: int) -> int:
    """Micro-dollars: the dearest way in which so many tokens could be counted."""
    ways = (
        Usage(input=tokens, output=answer),
        Usage(cache_write=tokens, output=answer),
        Usage(input=tokens, reasoning=answer),
    )
    return max(charge(pricing, usage) for usage in ways)


def charge(pricing: Pricing, usage: Usage) -> int:
    """What budgets count for a call: its cost, or that of a dear model where it is unknown."""
    micros = pricing(usage).micros
    if micros is None:
        micros = price_by_override(UNKNOWN, usage).micros
    return micros or 0
