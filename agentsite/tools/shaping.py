"""`responseShaping` of tool.json: the part of a result that the model needs.

Law: pure; steps in this order: path, pick, rename, template. A list is shaped
item by item. What a path does not find is left out. `maxLength` is applied to
the text afterwards (`ToolResult.cut`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agentsite.manifest.tool_schema import ResponseShaping
from agentsite.tools.base import PLACEHOLDER, ToolResult

MISSING = object()


def shape(
    value: Any,
    *,
    path: str | None = None,
    pick: Sequence[str] = (),
    rename: Mapping[str, str] = MappingProxyType({}),
    template: str | None = None,
) -> Any:
    """Shape a JSON value; paths are names and list places joined by dots.

    `path` goes to a part of the value; None when there is none. `pick` keeps the named
    paths of an object, nested as they were; `rename` moves the value of a path to a new
    name at the top; `template` turns an object into text with `{{path}}` filled in.
    """
    if path:
        found = look_up(value, path)
        value = None if found is MISSING else found
    if isinstance(value, list):
        items = [_shape_item(item, pick, rename, template) for item in value]
        return "\n".join(map(_to_text, items)) if template is not None else items
    return _shape_item(value, pick, rename, template)


def _shape_item(
    item: Any,
    pick: Sequence[str],
    rename: Mapping[str, str],
    template: str | None,
) -> Any:
    if not isinstance(item, dict):
        return item
    if pick:
        item = _pick(item, pick)
    if rename:
        item = _rename(item, rename)
    if template is not None:
        return PLACEHOLDER.sub(lambda match: _to_text(look_up(item, match[1])), template)
    return item


def shape_result(value: Any, shaping: ResponseShaping | None) -> ToolResult:
    """A value as a tool's result, shaped and cut as tool.json says."""
    plain = ToolResult.ok(value)
    if shaping is None or plain.error:
        return plain
    shaped = shape(
        value,
        path=shaping.path,
        pick=shaping.pick,
        rename=shaping.rename,
        template=shaping.template,
    )
    return ToolResult.ok(shaped).cut(shaping.max_length)


def look_up(value: Any, path: str) -> Any:
    """The value at a path, or MISSING. A name that itself holds dots is found, too."""
    if isinstance(value, dict) and path in value:
        return value[path]
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value


def _pick(item: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    picked: dict[str, Any] = {}
    for path in paths:
        found = look_up(item, path)
        if found is MISSING:
            continue
        *parents, last = [path] if path in item else path.split(".")
        place = picked
        for key in parents:
            inner = place.get(key)
            place[key] = place = dict(inner) if isinstance(inner, dict) else {}
        place[last] = found
    return picked


def _rename(item: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    moved = {new: look_up(item, old) for old, new in names.items()}
    kept = item
    for old in names:
        kept = _without(kept, [old] if old in kept else old.split("."))
    return {**kept, **{name: value for name, value in moved.items() if value is not MISSING}}


def _without(item: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """A copy without the value at this path, and without objects that this leaves empty."""
    first, *rest = keys
    inner = item.get(first)
    remaining = dict(item)
    if not rest:
        remaining.pop(first, None)
    elif isinstance(inner, dict):
        remaining[first] = _without(inner, rest)
        if not remaining[first]:
            del remaining[first]
    return remaining


def _to_text(value: Any) -> str:
    if value is MISSING or value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
