"""What a provider says while it answers: six kinds of delta, a closed set.

An adapter yields them in batches, one batch per network read, so that deltas
which arrived together can leave together. `assemble.py` folds them into a message.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

StopReason = Literal["end", "tool_calls", "max_tokens", "refusal"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one model call in disjoint classes; their sum is what the vendor counted."""

    input: int = 0
    """Uncached input tokens."""
    cache_read: int = 0
    cache_write: int = 0
    """Written to a cache with the vendor's default lifetime (5 minutes at Anthropic)."""
    cache_write_1h: int = 0
    """Written to a one-hour cache (Anthropic)."""
    output: int = 0
    """Output tokens without reasoning."""
    reasoning: int = 0

    @property
    def total(self) -> int:
        return (
            self.input
            + self.cache_read
            + self.cache_write
            + self.cache_write_1h
            + self.output
            + self.reasoning
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )


class TextDelta(msgspec.Struct, frozen=True, tag_field="kind", tag="text"):
    """A piece of answer text."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag_field="kind", tag="thinking"):
    """A piece of reasoning; `provider_data` (a signature, encrypted content) ends the block."""

    text: str
    provider_data: dict[str, Any] | None = None


class ToolCallStarted(msgspec.Struct, frozen=True, tag_field="kind", tag="tool_call_started"):
    """A call begins. `key` is any string unique within this answer; `ToolCallArgs` refer to it."""

    key: str
    name: str
    provider_data: dict[str, Any] = {}
    """The vendor's own id and whatever else must be echoed."""


class ToolCallArgs(msgspec.Struct, frozen=True, tag_field="kind", tag="tool_call_args"):
    """A fragment of the JSON text of one call's arguments."""

    key: str
    fragment: str


class UsageReported(msgspec.Struct, frozen=True, tag_field="kind", tag="usage"):
    """Usage of this call so far; a later one replaces an earlier one."""

    usage: Usage


class Stopped(msgspec.Struct, frozen=True, tag_field="kind", tag="stopped"):
    """The answer is complete. A stream without it was cut."""

    reason: StopReason


Delta = TextDelta | ThinkingDelta | ToolCallStarted | ToolCallArgs | UsageReported | Stopped
