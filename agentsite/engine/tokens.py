"""A cheap estimate of tokens: bytes of UTF-8 divided by four, a constant per image.

Only used to decide when to compact and where to cut; money is counted from what
vendors report. Bytes, not characters: other scripts need more tokens per character.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agentsite.engine.messages import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from agentsite.engine.ports import ToolSpec

IMAGE_TOKENS = 1_600
"""What the dearest of the vendors takes for a full-size picture."""
MESSAGE_TOKENS = 4
"""Framing of one message, of one tool."""


def text_tokens(text: str) -> int:
    """Tokens of a text; an empty one has none."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return (size + 3) // 4


def part_tokens(part: Part) -> int:
    match part:
        case TextPart(text=text) | ThinkingPart(text=text):
            return text_tokens(text)
        case ImagePart():
            return IMAGE_TOKENS
        case ToolCallPart():
            return text_tokens(part.name) + json_tokens(part.arguments) + MESSAGE_TOKENS
        case _:
            return MESSAGE_TOKENS + sum(part_tokens(item) for item in part.content)


def json_tokens(value: object) -> int:
    """Tokens of a JSON value, written compactly."""
    return (len(msgspec.json.encode(value)) + 3) // 4


def message_tokens(message: Message) -> int:
    return MESSAGE_TOKENS + sum(part_tokens(part) for part in message.parts)


def estimate(messages: Sequence[Message], system: str = "", tools: Sequence[ToolSpec] = ()) -> int:
    """Tokens of a whole request: history, system prompt and tool schemas."""
    return (
        text_tokens(system)
        + sum(message_tokens(message) for message in messages)
        + sum(
            MESSAGE_TOKENS
            + text_tokens(tool.name)
            + text_tokens(tool.description)
            + json_tokens(tool.parameters)
            for tool in tools
        )
    )
