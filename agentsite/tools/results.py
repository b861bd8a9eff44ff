"""What a tool gives back: text and images that every vendor accepts, or an error.

Law: nothing a tool returns can make history unsendable. Pictures are decoded and
recognised by their first bytes; text holds no NUL and no half characters.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from agentsite.engine.history import Content
from agentsite.engine.messages import ImagePart, TextPart

IMAGE_BYTES = 1_000_000
"""One picture, decoded."""
IMAGES_BYTES = 5_000_000
"""All pictures of one result."""
STORED_CHARS = 1_000_000
"""Text of one result that is stored; the rest is gone, and the text says so."""

DATA_URI = re.compile(r"data:(image/[a-z0-9.+-]+);base64,", re.IGNORECASE)
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)


class ToolError(Exception):
    """Raised by a tool for a failure it understands: the model sees the message.

    `transient` failures of idempotent tools are tried again.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Content for the model. `stop`: the run ends after this turn, for the reason given."""

    parts: Content
    error: bool = False
    stop: str | None = None
    transient: bool = False
    planning: bool | None = None
    """Whether the run plans from here on; None: as before."""

    @classmethod
    def ok(cls, value: Any) -> ToolResult:
        """A result from any value that JSON can say.

        A string is taken as it is. A string, anywhere inside, that is a picture's data
        URI becomes an image. An object with the single key `error` is a failure.
        Raises ToolError for a value that is not JSON.
        """
        try:
            plain = msgspec.to_builtins(value, str_keys=True)
            images = _Images()
            plain = images.extract(plain)
            match plain:
                case {"error": str(message)} if len(plain) == 1:
                    return cls.fail(message)
                case str(text):
                    pass
                case _:
                    text = msgspec.json.encode(plain).decode()
        except (TypeError, ValueError, RecursionError) as error:
            kind = type(value).__name__
            raise ToolError(f"The tool returned a {kind} that is not JSON: {error}") from error
        texts = (TextPart(visible(text)),) if text or not images.parts else ()
        return cls(parts=(*texts, *images.parts))

    @classmethod
    def of_text(cls, text: str) -> ToolResult:
        """Text as it is: nothing in it is taken for a picture."""
        return cls(parts=(TextPart(visible(text)),))

    @classmethod
    def of_image(cls, raw: bytes) -> ToolResult:
        """One picture, or what is wrong with it."""
        return cls.ok(f"data:image/any;base64,{base64.b64encode(raw).decode()}")

    @classmethod
    def of_blocks(cls, blocks: Iterable[str | bytes], *, error: bool = False) -> ToolResult:
        """Texts and the bytes of pictures, in order; a picture leaves its number in the text."""
        images = _Images()
        told = [each if isinstance(each, str) else images.keep(each) for each in blocks]
        text = "\n".join(each for each in told if each)
        texts = (TextPart(visible(text)),) if text or not images.parts else ()
        return cls(parts=(*texts, *images.parts), error=error)

    @classmethod
    def fail(cls, text: str, *, transient: bool = False) -> ToolResult:
        """A failure the model is told about."""
        return cls(parts=(TextPart(visible(text)),), error=True, transient=transient)

    @property
    def text(self) -> str:
        """All text, joined."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    def cut(self, limit: int) -> ToolResult:
        """At most `limit` characters of text, then a note; images stay."""
        if len(self.text) <= limit:
            return self
        left_out = len(self.text) - limit
        text = f"{self.text[:limit]}\n[... {left_out} more characters were not kept]"
        images = (part for part in self.parts if isinstance(part, ImagePart))
        return replace(self, parts=(TextPart(text), *images))


def clean(text: str) -> str:
    """Replace what no database and no vendor takes: NUL and lone surrogates."""
    return UNSTORABLE.sub("\ufffd", text)


def clean_json(value: Any) -> Any:
    """The same for every text in a JSON value, names of keys too; tuples become lists."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean_json(key): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value


def visible(text: str) -> str:
    """Clean text that is never blank: a vendor refuses blank parts."""
    return clean(text) if text.strip() else "(no output)"


class _Images:
    """Takes the pictures out of a JSON value."""

    def __init__(self) -> None:
        self.parts: list[ImagePart] = []
        self._bytes = 0

    def extract(self, value: Any) -> Any:
        """The value with each picture's data URI replaced; a lone picture leaves no text."""
        if isinstance(value, str) and DATA_URI.match(value):
            label = self._take(value)
            return "" if self.parts else label
        return self._walk(value)

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._take(value) if DATA_URI.match(value) else clean(value)
        if isinstance(value, dict):
            return {clean(key): self._walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        return value

    def _take(self, uri: str) -> str:
        """Keep the picture if it can be sent; say what stands in its place."""
        declared = uri[len("data:") : uri.index(";")]
        if len(uri) > 2 * IMAGE_BYTES:  # not worth decoding
            return f"[image too large: {declared}, {len(uri) * 0.75 / 1_000_000:.1f}MB]"
        try:
            raw = base64.b64decode(uri.partition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            return f"[image not readable: {declared}]"
        return self.keep(raw, declared)

    def keep(self, raw: bytes, declared: str = "image") -> str:
        """The same for its bytes."""
        media_type = recognise_image(raw)
        if media_type is None:
            return f"[image not readable: {declared}]"
        if len(raw) > IMAGE_BYTES or self._bytes + len(raw) > IMAGES_BYTES:
            return f"[image too large: {media_type}, {len(raw) / 1_000_000:.1f}MB]"
        self._bytes += len(raw)
        self.parts.append(ImagePart(media_type, data=base64.b64encode(raw).decode()))
        return f"[image {len(self.parts)}]"


def recognise_image(raw: bytes) -> str | None:
    """The media type that the first bytes prove, of the four that all vendors take."""
    return next((name for pattern, name in SIGNATURES if pattern.match(raw)), None)
