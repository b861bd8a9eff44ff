"""What one run has sent to models, kept as pieces of which each is written once.

Law: made when a turn is recorded, never before an answer has begun; images stay references.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from agentsite.engine.messages import Message
from agentsite.engine.ports import ToolSpec
from agentsite.host.clock import new_id
from agentsite.providers.history import cache_places
from sessions_app.prompts import SentPrompt

_encode = msgspec.json.Encoder().encode


def as_stored(
    sent: tuple[Message, ...], whole: tuple[Message, ...], stored: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Messages that were `sent`, with images as they are `stored`.

    `whole` are the same messages as `stored`, with their images. What was sent may be a part of
    them, by `window_cut`: then the task has something added, and others are left out.
    """
    if sent is whole:
        return stored
    kept = {id(message): own for message, own in zip(whole, stored, strict=True)}
    task = next((n for n, message in enumerate(whole) if message.role == "user"), 0)
    own = stored[task]
    return tuple(
        kept[id(message)]
        if id(message) in kept
        else replace(own, parts=(*own.parts, *message.parts[len(own.parts) :]))
        for message in sent
    )


class PromptBook:
    """Requests of one loop, each in terms of the one before it."""

    def __init__(self) -> None:
        self._digests: dict[int, tuple[Any, str]] = {}
        """By identity, with what keeps the identity from being given to another."""
        self._written: set[str] = set()
        self._last: tuple[str, list[str]] = ("", [])

    def note(
        self, system: str, tools: tuple[ToolSpec, ...], messages: Sequence[Message]
    ) -> SentPrompt:
        """A request that was made; to be recorded, as later ones build on it."""
        pieces: list[tuple[str, bytes]] = []
        listed = [self._digest(message, pieces) for message in messages]
        base, before = self._last
        kept = 0
        while kept < min(len(before), len(listed)) and before[kept] == listed[kept]:
            kept += 1
        prompt = SentPrompt(
            id=new_id("prm"),
            base=base if kept else "",
            kept=kept,
            system=self._digest(system, pieces),
            tools=self._digest(tools, pieces),
            messages=tuple(listed[kept:]),
            marks=cache_places(tuple(messages)),
            pieces=tuple(pieces),
        )
        self._last = (prompt.id, listed)
        # What is no longer sent will not be asked for again.
        self._digests = {key: self._digests[key] for key in map(id, (system, tools, *messages))}
        return prompt

    def _digest(self, value: Any, pieces: list[tuple[str, bytes]]) -> str:
        known = self._digests.get(id(value))
        if known is not None:
            return known[1]
        body = _encode(value)
        digest = blake2b(body, digest_size=16).hexdigest()
        self._digests[id(value)] = (value, digest)
        if digest not in self._written:
            self._written.add(digest)
            pieces.append((digest, body))
        return digest
