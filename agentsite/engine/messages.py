"""History as the model sees it: messages made of parts.

Law: a tool call part is always followed, in the next message, by exactly one
result part with its id. Our own ids (`tc_…`) are canonical; a vendor's own ids
and opaque echoes (signatures, encrypted reasoning) ride in `provider_data`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "tool", "summary"]
ResultStatus = Literal["ok", "error", "denied", "interrupted", "expired"]


class TextPart(msgspec.Struct, frozen=True, tag_field="kind", tag="text"):
    """Plain text; in assistant messages Markdown."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag_field="kind", tag="image"):
    """An image: base64 `data`, an absolute `url`, or the id of a stored `attachment`.

    Exactly one of the three is set. Adapters only ever see `data` or `url`;
    the host resolves attachments while it assembles a request.
    """

    media_type: str
    """`image/png`, `image/jpeg`, `image/gif`, `image/webp`; empty for a url of unknown type."""
    data: str | None = None
    url: str | None = None
    attachment: str | None = None


class ThinkingPart(msgspec.Struct, frozen=True, tag_field="kind", tag="thinking"):
    """Reasoning that the vendor exposed; sent back to the same provider only."""

    text: str
    provider: str = ""
    """Name of the provider that made it."""
    provider_data: dict[str, Any] = {}


class ToolCallPart(msgspec.Struct, frozen=True, tag_field="kind", tag="tool_call"):
    """A call the model asks for."""

    id: str
    """Our id, `tc_…`."""
    name: str
    arguments: dict[str, Any]
    """Decoded arguments; `{}` when the model's JSON was invalid (then `invalid` holds its text)."""
    invalid: str | None = None
    """The model's argument text where it was not a JSON object: the call fails without running."""
    provider: str = ""
    provider_data: dict[str, Any] = {}


class ToolResultPart(msgspec.Struct, frozen=True, tag_field="kind", tag="tool_result"):
    """What the model is told of one call."""

    call_id: str
    name: str
    status: ResultStatus
    content: tuple[TextPart | ImagePart, ...]


Part = TextPart | ImagePart | ThinkingPart | ToolCallPart | ToolResultPart


class Message(msgspec.Struct, frozen=True):
    """One item of history.

    user: text and images · assistant: text, thinking, tool calls · tool: results
    only, in call order · summary: one text that stands for everything before it.
    """

    role: Role
    parts: tuple[Part, ...]
    id: str = ""

    @property
    def text(self) -> str:
        """All text parts joined, without thinking."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def tool_results(self) -> tuple[ToolResultPart, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolResultPart))


def user_message(text: str, *images: ImagePart, id: str = "") -> Message:
    return Message(role="user", parts=(TextPart(text), *images), id=id)
