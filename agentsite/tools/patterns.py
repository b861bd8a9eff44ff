"""Patterns of permission rules: `*` within one segment, `**` across, `?` for one character.

Law: a placeholder that nobody has filled yet may become any part of one segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

PLACEHOLDER = re.compile(r"(\{[\w.-]+\})")
"""As `request` fills them."""
WILD = re.compile(r"(\*\*|\*|\?)")
LONGEST = 500
"""A longer text with placeholders is not followed; it might match."""
MEANING = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@lru_cache(maxsize=2048)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as an expression to be matched whole."""
    parts = (MEANING.get(part, re.escape(part)) for part in WILD.split(pattern))
    return re.compile("".join(parts), re.DOTALL)


def could_match(pattern: str, text: str) -> bool:
    """Whether a text matches for some value of the placeholders left in it."""
    if not PLACEHOLDER.search(text):
        return compile_pattern(pattern).fullmatch(text) is not None
    if len(text) > LONGEST:
        return True
    wanted = _read(WILD, pattern)
    given = _read(PLACEHOLDER, text)
    waiting = [(0, 0)]
    reached = set(waiting)
    while waiting:
        place = waiting.pop()
        if place == (len(wanted), len(given)):
            return True
        new = set(_go_on(wanted, given, *place)) - reached
        reached |= new
        waiting.extend(new)
    return False


def _read(special: re.Pattern[str], text: str) -> list[str]:
    """Letters, and what stands for several of them whole."""
    parts = special.split(text)
    return [each for n, part in enumerate(parts) for each in ((part,) if n % 2 else tuple(part))]


def _go_on(wanted: list[str], given: list[str], i: int, j: int) -> Iterator[tuple[int, int]]:
    """Where both can be after one more letter, or when a star or a placeholder is over."""
    want = wanted[i] if i < len(wanted) else ""
    have = given[j] if j < len(given) else ""
    star, hole = want in ("*", "**"), len(have) > 1
    if star:
        yield i + 1, j
    if hole:
        yield i, j + 1
    if want and have and _share_a_letter(want, have, hole=hole):
        yield i + (not star), j + (not hole)


def _share_a_letter(want: str, have: str, *, hole: bool) -> bool:
    if want in MEANING:
        return want == "**" or have != "/"
    return want != "/" if hole else want == have


def fill_in(endpoint: str, params: Any) -> str:
    """An endpoint with what params say of its placeholders, in the words of the call."""
    given = params if isinstance(params, Mapping) else {}

    def value(match: re.Match[str]) -> str:
        found = given.get(match[0][1:-1])
        if isinstance(found, bool):
            return str(found).lower()
        return str(found) if isinstance(found, str | int | float) else match[0]

    path, mark, query = endpoint.partition("?")
    return PLACEHOLDER.sub(value, path) + mark + query
