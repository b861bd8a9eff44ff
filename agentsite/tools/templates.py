"""`{{param}}` templates of HTTP tools and chains.

Law: a value never changes the shape of what it is put into. In JSON a lone placeholder is
replaced by the value itself, one inside a text by the value's text; in paths it is
percent-encoded as one segment.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from agentsite.tools.base import PLACEHOLDER, ToolError
from agentsite.tools.shaping import MISSING, look_up


def moments(now: dt.datetime) -> dict[str, str]:
    """The values every template knows besides its parameters, ISO 8601 in UTC."""
    return {
        "now": _iso(now),
        "now_minus_1h": _iso(now - dt.timedelta(hours=1)),
        "now_minus_24h": _iso(now - dt.timedelta(hours=24)),
    }


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fill_path(template: str, values: Mapping[str, Any]) -> str:
    """A path with its query; each value is one percent-encoded piece.

    Raises `ToolError` for a value that would be an empty piece of the path: `/users/` is
    another endpoint than `/users/{{id}}`. In the query, unknown names leave nothing.
    """

    def write_piece(name: str, value: Any) -> str:
        if not (text := _to_text(value)):
            raise ToolError(f'"{name}" must not be empty: it is a part of the path {path}.')
        return quote(text, safe="")

    path, mark, query = template.partition("?")
    given = dict(values)
    filled = PLACEHOLDER.sub(lambda match: write_piece(match[1], look_up(given, match[1])), path)
    return filled + mark + _fill(query, values, lambda value: quote(_to_text(value), safe=""))


def fill_text(template: str, values: Mapping[str, Any]) -> str:
    """A text."""
    return _fill(template, values, _to_text)


def fill_json(template: Any, values: Mapping[str, Any]) -> Any:
    """A JSON value; a key whose lone placeholder has no value is left out."""
    if isinstance(template, str):
        lone = PLACEHOLDER.fullmatch(template)
        return look_up(dict(values), lone[1]) if lone else fill_text(template, values)
    if isinstance(template, list):
        return [item for one in template if (item := fill_json(one, values)) is not MISSING]
    if isinstance(template, dict):
        filled = {key: fill_json(one, values) for key, one in template.items()}
        return {key: one for key, one in filled.items() if one is not MISSING}
    return template


def _fill(template: str, values: Mapping[str, Any], write: Callable[[Any], str]) -> str:
    return PLACEHOLDER.sub(lambda match: write(look_up(dict(values), match[1])), template)


def _to_text(value: Any) -> str:
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
