"""Filters as callers write them, read into conditions: pure, every mistake named.

`{"status": "open", "amount": {"$gte": 10, "$lt": 20}, "address.city": {"$in": ["Oslo"]}}`:
all must hold. A null or missing value equals null and does not exist.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import msgspec

from agentsite.manifest.problems import suggest
from agentsite.manifest.stores import FieldSpec, StoreSpec
from stores_app.errors import BadQuery
from stores_app.validation import UNSTORABLE, parse_time

Kind = Literal["text", "number", "time"]
Operator = Literal["$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$contains", "$exists"]
OPERATORS = ("$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$contains", "$exists")
RANGES = ("$gt", "$gte", "$lt", "$lte")
PATH = re.compile(r"[A-Za-z_]\w{0,199}(\.([A-Za-z_]\w{0,199}|\d{1,6})){0,9}", re.ASCII)
KINDS: dict[str, Kind] = {
    "string": "text",
    "enum": "text",
    "ref": "text",
    "boolean": "text",
    "number": "number",
    "datetime": "time",
}
MAX_CONDITIONS = 20
MAX_CHOICES = 100
MAX_TEXT = 10_000


class Condition(msgspec.Struct, frozen=True):
    """One comparison of the value at `path`."""

    path: str
    operator: Operator
    value: Any
    """Text, float or moment where `kind` says so; else any JSON value."""
    kind: Kind | None
    """Type of a declared scalar field: what its index compares. None: not declared as one."""
    listed: bool = False
    """The path is a declared list."""


def find_field(spec: StoreSpec, path: str) -> FieldSpec | None:
    """The declared field at a dotted path."""
    fields: dict[str, FieldSpec] | None = spec.entity.fields
    field = None
    for name in path.split("."):
        field = (fields or {}).get(name)
        if field is None:
            return None
        fields = field.fields
    return field


def find_kind(spec: StoreSpec, path: str) -> Kind | None:
    """How the values of a path compare; None when no scalar field is declared there."""
    field = find_field(spec, path)
    return KINDS.get(field.type) if field else None


def check_path(path: Any) -> str:
    """Raises `BadQuery` for what is no path."""
    if not isinstance(path, str) or not PATH.fullmatch(path):
        raise BadQuery(f'"{_shown(path)}" is not a path; write it as in "address.city"')
    return path


def undeclared(spec: StoreSpec, path: str) -> str | None:
    """What to tell of a path whose values have no index; None when they have one."""
    if find_kind(spec, path) is not None:
        return None
    if find_field(spec, path) is not None:
        return f'"{path}" is no single value, so no index helps'
    return f'"{path}" is not declared in the schema of "{spec.name}"' + suggest(
        path, spec.entity.fields
    )


def read_filter(spec: StoreSpec, given: Any) -> tuple[Condition, ...]:
    """The conditions of a filter. Raises `BadQuery`."""
    if not isinstance(given, dict):
        raise BadQuery("A filter is an object of paths and values")
    found: list[Condition] = []
    for path, wanted in given.items():
        check_path(path)
        operators = [key for key in wanted if key.startswith("$")] if _is_object(wanted) else []
        if not operators:
            found.append(_read(spec, path, "$eq", wanted))
            continue
        if len(operators) < len(wanted):
            raise BadQuery(f'"{path}" mixes operators with other keys')
        found += [_read(spec, path, operator, wanted[operator]) for operator in operators]
    if len(found) > MAX_CONDITIONS:
        raise BadQuery(f"A filter has at most {MAX_CONDITIONS} conditions")
    return tuple(found)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _read(spec: StoreSpec, path: str, operator: Any, value: Any) -> Condition:
    if operator not in OPERATORS:
        raise BadQuery(f'"{_shown(operator)}" is no operator; known: {", ".join(OPERATORS)}')
    _check_storable(path, value)
    field = find_field(spec, path)
    kind = KINDS.get(field.type) if field else None
    if operator == "$exists" or (operator == "$eq" and value is None):
        if operator == "$exists" and not isinstance(value, bool):
            raise BadQuery(f'"{path}": $exists takes true or false')
        return Condition(path, "$exists", value is True, kind)
    if operator == "$contains":
        return _read_contains(path, field, kind, value)
    if operator == "$in":
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHOICES:
            raise BadQuery(f'"{path}": $in takes a list of 1 to {MAX_CHOICES} values')
        value = [_fit(path, field, kind, item) for item in value]
    elif operator in RANGES:
        value = _fit_range(path, field, kind, value)
    else:
        value = _fit(path, field, kind, value)
    return Condition(path, operator, value, kind)


def _read_contains(path: str, field: FieldSpec | None, kind: Kind | None, value: Any) -> Condition:
    if value in (None, "", [], {}):
        raise BadQuery(f'"{path}": $contains takes a value that is not empty')
    if kind is not None and (kind != "text" or not isinstance(value, str)):
        raise BadQuery(f'"{path}": $contains takes a part of a string, or an item of a list')
    listed = field is not None and field.type == "array"
    return Condition(path, "$contains", value, None if listed else kind, listed)


def _fit(path: str, field: FieldSpec | None, kind: Kind | None, value: Any) -> Any:
    """The value as the field's index compares it. Raises `BadQuery`."""
    if field is None or kind is None:
        return value
    if field.type == "boolean":
        if not isinstance(value, bool):
            raise BadQuery(f'"{path}" is true or false')
        return "true" if value else "false"
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadQuery(f'"{path}" is a number; it cannot be compared with {_shown(value)!r}')
        return float(value)
    if not isinstance(value, str):
        raise BadQuery(f'"{path}" is a string; it cannot be compared with {_shown(value)!r}')
    if kind == "time":
        moment = parse_time(value)
        if moment is None:
            raise BadQuery(f'"{path}" is a time; "{_shown(value)}" is no ISO 8601 date or time')
        return moment
    if field.type == "enum" and value not in (field.values or ()):
        raise BadQuery(f'"{path}" is one of {", ".join(field.values or ())}')
    return value


def _fit_range(path: str, field: FieldSpec | None, kind: Kind | None, value: Any) -> Any:
    if field is not None and field.type in ("boolean", "array", "object"):
        raise BadQuery(f'"{path}" has no order')
    if field is not None and kind is not None:
        loose = field.model_copy(update={"type": "string"}) if field.type == "enum" else field
        return _fit(path, loose, kind, value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadQuery(f'"{path}" can be ordered by numbers, strings and times only')
    return (parse_time(value) or value) if isinstance(value, str) else float(value)


def _check_storable(path: str, value: Any) -> None:
    text = value if isinstance(value, str) else ""
    if not isinstance(value, str):
        try:
            text = msgspec.json.encode(value).decode()
        except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as error:
            raise BadQuery(f'"{path}" is compared with something that is not JSON') from error
        text = text.replace("\\u0000", "\x00")
    if len(text) > MAX_TEXT or UNSTORABLE.search(text):
        raise BadQuery(f'"{path}" is compared with a value that no document can have')
    _check_finite(path, value)


def _check_finite(path: str, value: Any) -> None:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_finite(path, item)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise BadQuery(f'"{path}" is compared with a number that no document can have')


def _shown(value: Any) -> str:
    return UNSTORABLE.sub("\ufffd", str(value))[:100]
