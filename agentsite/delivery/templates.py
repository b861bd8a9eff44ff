"""`{{ name }}` in an operator's text: what it stands for, out of a payload.

Law: only names are looked up, nothing is computed. What is missing stays as it is written, and is
told in the log once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

PLACE = re.compile(r"\{\{\s*([\w$-]+(?:\.[\w$-]+)*)\s*\}\}")


def values_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What a template may name: the payload's fields, `data`, and the fields of `data`."""
    return {**payload, **payload.get("data", {})}


def render(
    template: str,
    values: Mapping[str, Any],
    automation: str,
    escape: Callable[[str], str] = lambda text: text,
) -> str:
    """The text with its places filled in; objects and lists as JSON."""
    missing: list[str] = []

    def fill(place: re.Match[str]) -> str:
        found, value = _look_up(values, place[1])
        if not found:
            missing.append(place[1])
            return place[0]
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return escape(text)

    text = PLACE.sub(fill, template)
    if missing:
        _tell(automation, template, tuple(sorted(set(missing))))
    return text


def _look_up(values: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """A field of that whole name, or else the way from object to object, or item, to it."""
    if path in values:
        return True, values[path]
    value: Any = values
    for name in path.split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return False, None
    return True, value


@lru_cache(maxsize=1_000)
def _tell(automation: str, template: str, missing: tuple[str, ...]) -> None:
    """Once for each: the cache is the memory."""
    logger.warning(
        "a template of %s names %s, which its result does not have", automation, ", ".join(missing)
    )
