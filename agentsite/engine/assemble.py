"""Deltas become one assistant message.

Law: nothing depends on how the deltas were cut or batched. Text joins until a
thinking block or a call begins; thinking joins until its `provider_data` or
another block; argument fragments join per key, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agentsite.engine.deltas import (
    Delta,
    Stopped,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolCallArgs,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from agentsite.engine.messages import Message, Part, TextPart, ThinkingPart, ToolCallPart

MAX_DEPTH = 64
"""Arguments that nest deeper count as invalid."""
PACKED = 64
"""Pieces of text that become one: each is a dozen letters and sixty bytes around them."""
_Rare = ThinkingDelta | ToolCallStarted | ToolCallArgs | UsageReported | Stopped


@dataclass(slots=True)
class _Thinking:
    pieces: list[str]
    provider_data: dict[str, Any]


@dataclass(slots=True)
class _Call:
    name: str
    provider_data: dict[str, Any]
    fragments: list[str] = field(default_factory=list)
    id: str = ""


class Assembly:
    """Collects one answer while it streams; no letter is copied more than twice."""

    __slots__ = ("_blocks", "_calls", "_loose", "_open_text", "_open_thinking", "stopped", "usage")

    def __init__(self) -> None:
        self._blocks: list[list[str] | _Thinking | _Call] = []
        self._calls: dict[str, _Call] = {}
        self._open_text: list[str] | None = None
        self._loose = 0
        """Pieces at its end that were not packed yet."""
        self._open_thinking: _Thinking | None = None
        self.usage = Usage()
        """The last usage that was reported."""
        self.stopped: StopReason | None = None
        """None until the answer is complete; a stream that ends with None was cut."""

    def feed(self, batch: Iterable[Delta]) -> None:
        """Take a batch. Raises ValueError where an adapter breaks the contract of its keys."""
        for delta in batch:
            if isinstance(delta, TextDelta):  # by far the most frequent, hence first and plain
                if not delta.text:
                    continue
                if self._open_text is None:
                    self._open_text, self._loose = [], 0
                    self._open_thinking = None
                    self._blocks.append(self._open_text)
                self._open_text.append(delta.text)
                self._loose += 1
                if self._loose == PACKED:
                    self._open_text[-PACKED:] = ["".join(self._open_text[-PACKED:])]
                    self._loose = 0
            else:
                self._take(delta)

    def _take(self, delta: _Rare) -> None:
        match delta:
            case ToolCallArgs(key, fragment):
                call = self._calls.get(key)
                if call is None:
                    raise ValueError(f"arguments for a call that has not begun: key {key!r}")
                call.fragments.append(fragment)
            case ThinkingDelta():
                self._think(delta)
            case ToolCallStarted(key, name, provider_data):
                if key in self._calls:
                    raise ValueError(f"two calls of one answer share the key {key!r}")
                self._open_text = self._open_thinking = None
                self._calls[key] = _Call(name, provider_data)
                self._blocks.append(self._calls[key])
            case UsageReported(usage):
                self.usage = usage
            case Stopped(reason):
                self.stopped = reason

    def _think(self, delta: ThinkingDelta) -> None:
        if not delta.text and delta.provider_data is None:
            return
        if self._open_thinking is None:
            self._open_thinking = _Thinking([], {})
            self._open_text = None
            self._blocks.append(self._open_thinking)
        self._open_thinking.pieces.append(delta.text)
        if delta.provider_data is not None:
            self._open_thinking.provider_data = delta.provider_data
            self._open_thinking = None

    @property
    def text(self) -> str:
        """The answer text so far, without thinking."""
        return "".join("".join(block) for block in self._blocks if isinstance(block, list))

    def message(self, ids: Callable[[], str], provider: str, *, id: str = "") -> Message:
        """The assistant message; `ids` gives each call its id, in order, once for good."""
        parts: list[Part] = []
        for block in self._blocks:
            match block:
                case _Thinking(pieces, provider_data):
                    parts.append(ThinkingPart("".join(pieces), provider, provider_data))
                case _Call():
                    block.id = block.id or ids()
                    parts.append(_decode_call(block, provider))
                case _:
                    parts.append(TextPart("".join(block)))
        return Message(role="assistant", parts=tuple(parts), id=id)

    def partial(self, *, id: str = "") -> Message:
        """What an interrupted answer leaves in history: its text.

        Calls that never ran and reasoning without its signature have no place there.
        """
        texts = ("".join(block) for block in self._blocks if isinstance(block, list))
        return Message(role="assistant", parts=tuple(TextPart(text) for text in texts), id=id)


def _decode_call(call: _Call, provider: str) -> ToolCallPart:
    raw = "".join(call.fragments)
    arguments: Any = {}
    invalid: str | None = None
    if raw.strip():
        try:
            arguments = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            invalid = raw
        if not isinstance(arguments, dict) or _is_too_deep(raw, arguments):
            arguments, invalid = {}, raw
    return ToolCallPart(
        id=call.id,
        name=call.name,
        arguments=arguments,
        invalid=invalid,
        provider=provider,
        provider_data=call.provider_data,
    )


def _is_too_deep(raw: str, value: Any) -> bool:
    """Tell whether a JSON value nests deeper than anything behind us should have to bear."""
    if raw.count("{") + raw.count("[") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for parent in level
            for item in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(item, dict | list)
        ]
    return bool(level)


def assemble(
    deltas: Iterable[Delta], ids: Callable[[], str], provider: str, *, id: str = ""
) -> Message:
    """Fold a whole answer at once."""
    assembly = Assembly()
    assembly.feed(deltas)
    return assembly.message(ids, provider, id=id)
