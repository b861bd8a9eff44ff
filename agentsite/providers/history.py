"""What the request mappings share: whose echoes may be sent, which id a call goes by, text.

Our ids are canonical. A vendor's own id or signature is sent back only to where it came
from (`origin`); everyone else gets our id, in characters and a length the vendor takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

from agentsite.engine.messages import ImagePart, Message, TextPart, ThinkingPart, ToolCallPart

_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
NO_TEXT = "(no text)"
"""Stands where a vendor demands text and a message has none."""


def echo_of(part: ThinkingPart | ToolCallPart, provider: str, origin: str) -> dict[str, Any]:
    """Return what the vendor wants back with this part; empty for another vendor's part."""
    if part.provider != provider:
        return {}
    data = part.provider_data
    return data if data.get("origin", provider) == origin else {}


def wire_id(call_id: str, echo: dict[str, Any], longest: int = 40) -> str:
    """Return the id a call goes by: the vendor's own, or ours made fit (never ambiguous)."""
    own = echo.get("id")
    if isinstance(own, str) and own:
        return own
    fit = _FOREIGN.sub("_", call_id)
    if fit == call_id and len(fit) <= longest:
        return fit
    return "tc_" + sha256(call_id.encode()).hexdigest()[: longest - 3]


def call_ids(
    messages: Iterable[Message], provider: str, origin: str, longest: int = 40
) -> dict[str, str]:
    """Return our id -> the id on the wire, for every call in the history."""
    return {
        call.id: wire_id(call.id, echo_of(call, provider, origin), longest)
        for message in messages
        for call in message.tool_calls
    }


def newest_user(messages: tuple[Message, ...]) -> int:
    """Return the place of the newest user (or summary) message, -1 if there is none."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role in ("user", "summary"):
            return at
    return -1


def cache_places(messages: tuple[Message, ...]) -> tuple[int, ...]:
    """Return the places of messages at whose end a vendor with marks of its own is told to cache.

    Volatile context rides on the newest user message: the cache must end before it. Results of
    tools behind it are stable again.
    """
    before = newest_user(messages) - 1
    last = len(messages) - 1
    ends_in_results = bool(messages) and messages[-1].role == "tool"
    return (*((before,) if before >= 0 else ()), *((last,) if ends_in_results else ()))


def arguments_text(call: ToolCallPart) -> str:
    """Return the arguments as JSON text, as the model wrote them if that was not an object."""
    return msgspec.json.encode(call.arguments).decode()


def plain_text(content: Iterable[TextPart | ImagePart]) -> str:
    """Return the text of a tool's result; pictures are left out."""
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def data_url(image: ImagePart) -> str:
    """Return an address for an image: its own, or a data URL."""
    if image.url is not None:
        return image.url
    return f"data:{image.media_type};base64,{require_data(image)}"


def require_data(image: ImagePart) -> str:
    """Return the base64 data; ValueError for an attachment the host has not resolved."""
    if image.data is None:
        raise ValueError(f"image attachment {image.attachment!r} was not resolved by the host")
    return image.data


def tools_used(messages: Iterable[Message]) -> list[str]:
    """Return the names of all tools called in a history, each once, in order."""
    return list(dict.fromkeys(call.name for m in messages for call in m.tool_calls))
