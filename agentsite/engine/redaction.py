"""Known secrets are found by value and replaced, however they are spelled.

Law: by value, not by name. A secret counts plain, base64-encoded (at any offset) and
URL-encoded, and as a part of any longer string. What is not known cannot be found.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

T = TypeVar("T")

REDACTED = "[REDACTED]"
SHORTEST = 6
"""Shorter values would blank out ordinary words."""
SHORTEST_ENCODED = 8
OPENING = 6
"""Characters by which most texts that are no secret are told from one at once."""

_ENDS = [slice(-length, None) for length in range(1, OPENING)]
"""The ends of a text that may be less than an opening."""


class Redactor:
    """Replaces the secrets of one agent."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in spell(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._longest = len(longest_first[0]) if longest_first else 0
        self._by_start: dict[str, list[str]] = {}
        self._by_opening: dict[str, list[str]] = {}
        for form in longest_first:
            self._by_start.setdefault(form[0], []).append(form)
            self._by_opening.setdefault(form[:OPENING], []).append(form)
        # Openings alone are compiled: whole secrets, many and long, would take seconds.
        self._opening = re.compile(_branch(sorted(self._by_opening))) if longest_first else None
        first = "|".join(map(re.escape, self._by_start))
        self._starts = re.compile(first) if first else None
        self._openings = frozenset(
            form[:length] for form in longest_first for length in range(1, OPENING + 1)
        )

    def __bool__(self) -> bool:
        return self._opening is not None

    def _find(self, text: str) -> Iterator[tuple[int, int]]:
        """Begin and end of each secret in a text, the longest of those that begin together."""
        opening, place = self._opening, 0
        while opening is not None and (found := opening.search(text, place)) is not None:
            start = found.start()
            place = start + 1
            for form in self._by_opening[found.group()]:
                if text.startswith(form, start):
                    place = start + len(form)
                    yield start, place
                    break

    def text(self, text: str) -> str:
        """The text without secrets."""
        kept: list[str] = []
        end = 0
        for start, place in self._find(text):
            kept.append(text[end:start])
            end = place
        return REDACTED.join([*kept, text[end:]]) if kept else text

    def is_innocent(self, text: str) -> bool:
        """Whether no secret stands in a text or begins at its end; quick, and at times too wary."""
        if self._opening is None:
            return True
        ends = map(text.__getitem__, _ENDS)
        return self._opening.search(text) is None and self._openings.isdisjoint(ends)

    def find_safe_end(self, text: str) -> int:
        """Up to where a text is whole: behind that a secret may have begun that goes on later."""
        size = len(text)
        if self._starts is None:
            return size
        for found in self._starts.finditer(text, max(0, size - self._longest + 1)):
            start = found.start()
            if text[start : start + OPENING] in self._openings and self._goes_on(text[start:]):
                return self._begin_of_match(text, start)
        return size

    def _goes_on(self, tail: str) -> bool:
        size = len(tail)
        return any(len(form) > size and form.startswith(tail) for form in self._by_start[tail[0]])

    def _begin_of_match(self, text: str, end: int) -> int:
        """`end`, or where the secret begins that `end` would cut in two."""
        for start, stop in self._find(text):
            if start < end < stop:
                return start
        return end

    def begins_secret(self, text: str) -> bool:
        """Whether a text is the greater part of a secret, cut off before its end."""
        forms = self._by_start.get(text[:1], ()) if len(text) >= SHORTEST else ()
        return any(form.startswith(text) and 2 * len(text) >= len(form) for form in forms)

    def value(self, value: Any, *, keys: bool = True) -> Any:
        """A JSON value without secrets, those in keys only if `keys`; nothing else is lost.

        The same object when nothing is known.
        """
        if self._opening is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            names = self._rename(value) if keys else {}
            return {names.get(key, key): self.value(item, keys=keys) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, keys=keys) for item in value]
        return value

    def _rename(self, value: dict[Any, Any]) -> dict[Any, str]:
        """New names of the keys that hold secrets, no two alike."""
        names: dict[Any, str] = {}
        taken = set(value)
        for key in value:
            clean = name = self.text(key) if isinstance(key, str) else key
            if clean == key:
                continue
            number = 1
            while name in taken:
                number += 1
                name = f"{clean} {number}"
            taken.add(name)
            names[key] = name
        return names

    def struct(self, value: T, kind: Any = None) -> T:
        """A value of the engine (an event, a message, parts) without secrets."""
        if next(self._find(_to_text(value)), None) is None:
            return value
        found: T = msgspec.convert(self.value(msgspec.to_builtins(value)), kind or type(value))
        return found


def _branch(words: list[str]) -> str:
    """A pattern for any of these words of one length, which tries each place once only."""
    if len(words) == 1:
        return re.escape(words[0])
    by_first: dict[str, list[str]] = {}
    for word in words:
        by_first.setdefault(word[:1], []).append(word[1:])
    ways = [re.escape(first) + _branch(rest) for first, rest in by_first.items()]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _to_text(value: Any) -> str:
    # JSON escapes could hide a secret that holds quotes or backslashes, hence no JSON here.
    return "\x00".join(_strings(msgspec.to_builtins(value)))


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def spell(secret: str) -> set[str]:
    """The forms in which a secret may turn up."""
    forms = {secret, quote(secret, safe=""), quote_plus(secret)}
    if len(secret) >= SHORTEST_ENCODED:
        forms |= _encode_base64(secret.encode())
    return forms


def _encode_base64(raw: bytes) -> set[str]:
    """The middle of a secret's base64 at each of the three offsets it can have inside a text."""
    found: set[str] = set()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\x00" * offset + raw).decode().rstrip("=")
            start = (0, 2, 3)[offset]  # characters that depend on what stands before
            whole = len(encoded) if (offset + len(raw)) % 3 == 0 else len(encoded) - 1
            found.add(encoded[start:whole])
    return found
