"""Money: the check value, disjoint classes, one rounding, unknown is not zero."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentsite.engine.deltas import Usage
from agentsite.manifest.models import ModelConfig
from agentsite.providers.catalog import context_window, price

AT = datetime(2026, 10, 1, tzinfo=UTC)
SONNET = "claude-sonnet-4-20250514"
CHECK = Usage(input=308, cache_read=118_424, cache_write=181, output=111)

VECTORS = [
    ("anthropic", "claude-sonnet-4", CHECK, 38_795),
    ("anthropic", SONNET, CHECK, 38_795),
    ("anthropic", SONNET, Usage(cache_write=1000, cache_write_1h=1000), 3750 + 6000),
    ("anthropic", SONNET, Usage(output=10, reasoning=90), 1500),
    ("anthropic", "eu.anthropic.claude-sonnet-4-20250514-v1:0", Usage(output=100), 1500),
    ("openai", "gpt-4o-mini", Usage(input=1000, cache_read=1000, output=1000), 150 + 75 + 600),
    ("google", "gemini-2.5-flash", Usage(input=1000, output=100, reasoning=100), 300 + 500),
    ("google", "gemini-2.5-pro", Usage(input=200_001), 500_003),  # the long-context tier
    ("scripted", "demo", Usage(input=10**6, output=10**6), 0),
]


@pytest.mark.parametrize(("provider", "model", "usage", "micros"), VECTORS)
def test_a_call_costs_what_the_vendor_charges(
    provider: str, model: str, usage: Usage, micros: int
) -> None:
    assert price(provider, model, usage, {}, AT).micros == micros


def test_an_unknown_model_has_no_price() -> None:
    priced = price("openai", "my-own-model", Usage(input=5), {}, AT)
    assert priced.micros is None
    assert priced.snapshot == {"source": "unknown"}


def test_a_name_at_another_address_is_not_taken_for_the_vendors_model() -> None:
    here = price("openai", "gpt-4o", Usage(input=5), {}, AT, "http://localhost:11434/v1")
    groq = price(
        "openai", "llama-3.3-70b-versatile", Usage(input=10**6), {}, AT, "https://api.groq.com/v1"
    )
    assert here.micros is None
    assert groq.micros == 590_000


def test_an_override_wins_and_says_so() -> None:
    own = {"openai/mine": {"input": 2, "output": 8.5, "cacheRead": "0.5"}}
    usage = Usage(input=100, cache_read=10, cache_write=10, output=3, reasoning=1)
    priced = price("openai", "mine", usage, own, AT)
    assert priced.micros == 259  # 200 + 5 + 20 + 34
    assert priced.snapshot["source"] == "override"
    assert priced.snapshot["perMillion"] == {"input": "2", "output": "8.5", "cacheRead": "0.5"}


def test_an_override_without_the_price_of_a_used_class_is_unknown() -> None:
    own = {"openai/mine": {"input": 2}}
    assert price("openai", "mine", Usage(input=1), own, AT).micros == 2
    assert price("openai", "mine", Usage(input=1, output=1), own, AT).micros is None


def test_rounding_is_half_up_and_once() -> None:
    own = {"openai/mine": {"input": 0.5, "output": 0.5}}
    assert price("openai", "mine", Usage(input=1), own, AT).micros == 1
    assert price("openai", "mine", Usage(input=1, output=1), own, AT).micros == 1
    assert price("openai", "mine", Usage(input=3), own, AT).micros == 2


def test_the_snapshot_tells_the_rates() -> None:
    snapshot = price("anthropic", SONNET, CHECK, {}, AT).snapshot
    assert snapshot["source"].startswith("genai-prices ")
    assert snapshot["model"] == "anthropic/claude-sonnet-4-0"
    assert snapshot["perMillion"] == {
        "input": "3",
        "output": "15",
        "cacheRead": "0.3",
        "cacheWrite": "3.75",
        "cacheWrite1h": "6",
    }


def test_windows_come_from_the_config_the_catalogue_or_a_safe_guess() -> None:
    own = ModelConfig(provider="openai", model="x", base_url="http://here/v1", context_window=9000)
    bare = ModelConfig(provider="openai", model="x", base_url="http://here/v1")
    assert context_window("openai", "x", own) == 9000
    assert context_window("openai", "x", bare) == 32_000
    assert context_window("anthropic", SONNET) == 200_000
    assert context_window("google", "gemini-2.5-flash") == 1_048_576
    assert context_window("google", "gemini-unheard-of") == 1_048_576
    assert context_window("scripted", "demo") == 200_000
