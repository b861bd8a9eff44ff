"""What every vendor's wire shares: an answer as frames, and how a history is read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from agentsite.fakemodel.plan import Plan, PlannedError

_numbers = itertools.count(1)


class Frames(msgspec.Struct, frozen=True):
    """An answer in pieces; a delta carries the bookkeeping events that precede it."""

    opening: bytes
    deltas: tuple[bytes, ...]
    closing: bytes


class Turn(msgspec.Struct, frozen=True):
    """Where a request stands: the newest user text, and the model calls since it."""

    text: str
    call: int


class Wire(msgspec.Struct, frozen=True):
    """One vendor's side of the fake: four functions over plain JSON bodies."""

    vendor: str
    read_turn: Callable[[dict[str, Any]], Turn]
    build: Callable[[Plan, str, int], Frames]
    """(plan, model, size of the request in bytes) -> frames"""
    refuse: Callable[[PlannedError], tuple[dict[str, str], bytes]]
    """An error as a response: its headers and body."""
    error_event: Callable[[PlannedError], bytes]
    """The same error as an event inside a 200."""
    check: Callable[[dict[str, Any]], list[str]]
    """What the vendor would refuse about a request."""


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def next_number() -> int:
    """Return a number this process has not used yet, for ids."""
    return next(_numbers)


def fold_frames(parts: Iterable[tuple[bytes, bool]]) -> Frames:
    """Join frames so that each delta (marked True) starts with what was said before it.

    What precedes the first delta is the opening, what follows the last the closing.
    """
    opening: bytes | None = None
    pending = b""
    deltas: list[bytes] = []
    for frame, is_delta in parts:
        if not is_delta:
            pending += frame
        elif opening is None:
            opening, pending = pending, b""
            deltas.append(frame)
        else:
            deltas.append(pending + frame)
            pending = b""
    if opening is None:
        return Frames(opening=pending, deltas=(), closing=b"")
    return Frames(opening=opening, deltas=tuple(deltas), closing=pending)


def join_texts(content: Any) -> str:
    """Return the text of a message content: a string, or a list of parts with `text`."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def listed(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a JSON list; anything else is an empty list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
