"""What vendors report becomes money to the micro-dollar: a table with the sums written out.

Each row of `recorded/usage_prices.json` has a vendor's usage as it is streamed and as one answer
tells it, and `terms`: tokens times US dollars per million, by the vendors' own rules and prices.
"""

# Anthropic: input, writes (5 m, 1 h), reads and output are apart. OpenAI: cached tokens are part
# of the prompt, reasoning is part of the completion. Google: thoughts come beside the candidates,
# a tool's prompt beside the prompt, cached tokens are part of it. Above 200,000 tokens of input
# the long rates count for every class. The sum is rounded once, half up.

from __future__ import annotations

import datetime as dt
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from agentsite.engine.deltas import Usage, UsageReported
from agentsite.providers.anthropic_stream import AnthropicDecoder
from agentsite.providers.catalog import price
from agentsite.providers.google_stream import GoogleDecoder
from agentsite.providers.openai_chat import ChatDecoder
from agentsite.providers.openai_responses import ResponsesDecoder
from agentsite.providers.wire import Decoder
from tests.requirements import requirement

ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "recorded" / "usage_prices.json").read_text()
)
DECODERS: dict[str, type[Decoder]] = {
    "anthropic": AnthropicDecoder,
    "chat": ChatDecoder,
    "responses": ResponsesDecoder,
    "google": GoogleDecoder,
}


def frames(wire: str, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A whole answer on this wire that reports usage once for each of `told`."""
    *early, last = told
    match wire:
        case "anthropic":
            end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last}
            starts = [{"type": "message_start", "message": {"usage": each}} for each in early]
            return [*starts, end, {"type": "message_stop"}]
        case "chat":
            choice = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}
            return [{"choices": [choice]}, {"choices": [], "usage": last}]
        case "responses":
            done = {"type": "response.completed", "response": {"usage": last}}
            return [{"type": "response.output_text.delta", "delta": "Hi."}, done]
        case _:
            part = {"content": {"parts": [{"text": "Hi."}]}}
            chunks = [{"candidates": [part], "usageMetadata": each} for each in early]
            end = {"candidates": [{**part, "finishReason": "STOP"}], "usageMetadata": last}
            return [*chunks, end]


def read_usage(row: dict[str, Any], told: list[dict[str, Any]]) -> Usage:
    """What our decoder makes of it."""
    decoder = DECODERS[row["wire"]](row["provider"], row["model"])
    deltas = []
    for frame in frames(row["wire"], told):
        deltas += decoder.feed(b"data: " + json.dumps(frame).encode() + b"\n\n")
    if row["wire"] == "chat":
        deltas += decoder.feed(b"data: [DONE]\n\n")
    if not decoder.stopped:
        deltas += decoder.finish()
    return [delta.usage for delta in deltas if isinstance(delta, UsageReported)][-1]


def test_the_table_is_large_enough_and_its_sums_are_those_of_its_terms() -> None:
    assert len(ROWS) >= 60
    assert {row["wire"] for row in ROWS} == set(DECODERS)
    assert len({row["name"] + row["model"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        total = sum(tokens * Fraction(rate) for tokens, rate in row["terms"])
        assert row["micros"] == (2 * total + 1) // 2, row["name"]
    assert (ROWS[0]["name"], ROWS[0]["micros"]) == ("the check value of runs.md", 38_795)


@requirement("runs.price-golden")
@pytest.mark.parametrize("form", ["stream", "whole"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}: {row['name']}")
def test_usage_is_priced_to_the_micro_dollar(row: dict[str, Any], form: str) -> None:
    told = row["stream"] if form == "stream" else [row["whole"]]
    at = dt.datetime.fromisoformat(row["at"]).replace(tzinfo=dt.UTC)
    priced = price(row["provider"], row["model"], read_usage(row, told), {}, at)
    assert priced.micros == row["micros"], priced.snapshot
