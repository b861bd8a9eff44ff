"""What models cost and how much they take in, from `genai-prices`; it never asks the network.

Classes of tokens are disjoint. A price is rounded once per call, half up, to micro-dollars.
An unknown price is None, never 0; the `scripted` provider costs nothing unless a price is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

import msgspec

from agentsite.engine.deltas import Usage
from agentsite.manifest.models import ModelConfig

_MILLION = Decimal(1_000_000)
_WINDOWS = {"anthropic": 200_000, "openai": 128_000, "google": 1_048_576, "scripted": 200_000}
_UNKNOWN_WINDOW = 32_000
"""What a server of one's own is trusted with when nothing is known of its model."""
_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cacheRead": "cache_read_mtok",
    "cacheWrite": "cache_write_mtok",
    "cacheWrite1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
}


class Priced(msgspec.Struct, frozen=True):
    """The price of a call: micro-dollars or None, and what it was computed from."""

    micros: int | None
    snapshot: dict[str, Any]
    """`source`, and when known `model` and USD per million tokens of each class, as strings."""


def price(
    config_provider: str,
    model: str,
    usage: Usage,
    overrides: Mapping[str, Mapping[str, Any]],
    at: datetime,
    base_url: str | None = None,
) -> Priced:
    """Return what a call cost at the time `at`.

    `overrides` maps `provider/model` to USD per million tokens: `input`, `output`, `cacheRead`,
    `cacheWrite`, `cacheWrite1h`, and a `source` for the snapshot; cached tokens without a price
    of their own cost what input costs. An openai `base_url` is looked up as the vendor behind
    it, and unknown if there is none.
    """
    own = overrides.get(f"{config_provider}/{model}")
    if own is not None:
        return price_by_override(own, usage)
    if config_provider == "scripted":
        return Priced(0, {"source": "scripted"})
    found = find_model(config_provider, model, base_url)
    if found is None:
        return Priced(None, {"source": "unknown"})
    return price_by_catalog(found, usage, at)


def price_by_override(own: Mapping[str, Any], usage: Usage) -> Priced:
    """Price by an operator's own figures; None when a class that was used has none."""
    given = {key: own.get(key) for key in _FIELDS}
    rates = {key: Decimal(str(value)) for key, value in given.items() if value is not None}
    entry = rates.get("input")
    read = rates.get("cacheRead", entry)
    written = rates.get("cacheWrite", entry)
    used = (
        (usage.input, entry),
        (usage.cache_read, read),
        (usage.cache_write, written),
        (usage.cache_write_1h, rates.get("cacheWrite1h", written)),
        (usage.output + usage.reasoning, rates.get("output")),
    )
    source = own.get("source", "override")
    snapshot = {"source": source, "perMillion": {k: str(v) for k, v in rates.items()}}
    total = Decimal(0)
    for tokens, rate in used:
        if tokens and rate is None:
            return Priced(None, snapshot)
        total += tokens * (rate or Decimal(0))
    return Priced(round_micros(total), snapshot)


def price_by_catalog(found: tuple[Any, Any], usage: Usage, at: datetime) -> Priced:
    from genai_prices import Usage as Counted

    provider, model = found
    written = usage.cache_write + usage.cache_write_1h
    counted: dict[str, int] = {
        # The catalogue counts inclusively: input holds what was cached, output the reasoning.
        "input_tokens": usage.input + usage.cache_read + written,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "output_tokens": usage.output + usage.reasoning,
        "output_reasoning_tokens": usage.reasoning,
    }
    told = Counted(**{key: count for key, count in counted.items() if count})
    priced = model.calc_price(told, provider, genai_request_timestamp=at)
    snapshot = {
        "source": f"genai-prices {catalog_version()}",
        "model": f"{provider.id}/{model.id}",
        "perMillion": list_rates(priced.model_price),
    }
    return Priced(round_micros(priced.total_price * _MILLION), snapshot)


def round_micros(micros: Decimal) -> int:
    return int(micros.quantize(Decimal(1), ROUND_HALF_UP))


def list_rates(model_price: Any) -> dict[str, Any]:
    """Return USD per million tokens as strings; a tiered price as its base and its steps."""
    rates: dict[str, Any] = {}
    for key, field in _FIELDS.items():
        rate = getattr(model_price, field, None)
        if rate is None:
            continue
        tiers = getattr(rate, "tiers", None)
        if tiers is None:
            rates[key] = str(rate)
        else:
            steps = [{"from": tier.start, "price": str(tier.price)} for tier in tiers]
            rates[key] = {"base": str(rate.base), "tiers": steps}
    return rates


def context_window(provider: str, model: str, config: ModelConfig | None = None) -> int:
    """Return the tokens a model takes in: the config's word, the catalogue's, or a safe guess."""
    if config is not None and config.context_window is not None:
        return config.context_window
    base_url = config.base_url if config is not None else None
    if provider != "scripted":
        found = find_model(provider, model, base_url)
        if found is not None and found[1].context_window:
            return int(found[1].context_window)
    if provider == "openai" and base_url is not None:
        return _UNKNOWN_WINDOW
    return _WINDOWS.get(provider, _UNKNOWN_WINDOW)


@lru_cache(maxsize=512)
def find_model(provider: str, model: str, base_url: str | None) -> tuple[Any, Any] | None:
    """Return the catalogue's provider and model, or None.

    The catalogue is loaded on first use (about half a second, off no one's loop but the caller's).
    """
    from genai_prices import data_snapshot

    snapshot = data_snapshot.get_snapshot()
    if provider == "anthropic" and "anthropic." in model:
        provider = "aws"  # Bedrock's names for Claude: eu.anthropic.claude-…
    address = base_url if provider == "openai" else None
    try:
        return snapshot.find_provider_model(model, None, None if address else provider, address)
    except LookupError:
        return None


@lru_cache(maxsize=1)
def catalog_version() -> str:
    from genai_prices import __version__

    return __version__
