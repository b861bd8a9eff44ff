"""Payloads against a store's schema: the one validation of tools, handlers, API and admin.

Law: pure. Every defect is found at once and named by its path; nothing is converted, except
that nullable fields which are left out become null.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

import msgspec

from agentsite.manifest.problems import suggest
from agentsite.manifest.stores import FieldSpec, StoreSpec
from stores_app.errors import InvalidDocument
from stores_app.models import KEY_CHARS

MAX_BYTES = 500_000
"""One document as JSON."""
MAX_ITEMS = 10_000
"""One list."""
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
"""What `stores_time` in the database reads as well."""


def parse_time(text: str) -> dt.datetime | None:
    """An ISO date or time as a moment, UTC unless it says otherwise; None for anything else."""
    if not TIME.fullmatch(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def check_document(spec: StoreSpec, payload: Any) -> tuple[str, dict[str, Any]]:
    """The key and the payload to be stored. Raises `InvalidDocument` with every problem."""
    found = _Problems()
    if not isinstance(payload, dict):
        found.add("payload", "must be an object with the fields of the store")
        raise InvalidDocument(spec.name, found.all)
    clean = _check_fields(found, "", spec.entity.fields, payload)
    key = "" if found.all else _make_key(found, spec, clean)
    if not found.all and len(msgspec.json.encode(clean)) > MAX_BYTES:
        found.add("payload", f"has more than {MAX_BYTES:,} bytes")
    if found.all:
        raise InvalidDocument(spec.name, found.all)
    return key, clean


class _Problems:
    def __init__(self) -> None:
        self.all: list[dict[str, str]] = []

    def add(self, field: str, problem: str) -> None:
        self.all.append({"field": field, "problem": problem})


def _check_fields(
    found: _Problems, path: str, fields: dict[str, FieldSpec], given: dict[str, Any]
) -> dict[str, Any]:
    for name in given.keys() - fields.keys():
        shown = UNSTORABLE.sub("\ufffd", str(name))[:100]
        found.add(f"{path}{shown}", f"is not a field{suggest(shown, fields)}")
    clean: dict[str, Any] = {}
    for name, field in fields.items():
        where = f"{path}{name}"
        value = given.get(name)
        if value is None:
            if not field.nullable:
                found.add(where, "must not be null" if name in given else "is required")
            clean[name] = None
        else:
            clean[name] = _check_value(found, where, field, value)
    return clean


def _check_value(found: _Problems, path: str, field: FieldSpec, value: Any) -> Any:
    match field.type:
        case "object":
            if isinstance(value, dict):
                return _check_fields(found, f"{path}.", field.fields or {}, value)
            found.add(path, "must be an object")
        case "array":
            if isinstance(value, list):
                return _check_items(found, path, field, value)
            found.add(path, "must be a list")
        case "number":
            _check_number(found, path, field, value)
        case "boolean":
            if not isinstance(value, bool):
                found.add(path, "must be true or false")
        case _:
            _check_text(found, path, field, value)
    return value


def _check_items(found: _Problems, path: str, field: FieldSpec, items: list[Any]) -> list[Any]:
    if len(items) > MAX_ITEMS:
        found.add(path, f"has {len(items):,} items; {MAX_ITEMS:,} are allowed")
        return items
    item = field.item
    if item is None:
        return items
    clean = []
    for place, value in enumerate(items):
        where = f"{path}[{place}]"
        if value is None and not item.nullable:
            found.add(where, "must not be null")
        clean.append(None if value is None else _check_value(found, where, item, value))
    return clean


def _check_number(found: _Problems, path: str, field: FieldSpec, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        found.add(path, "must be a number")
    elif not _is_finite(value):
        found.add(path, "is not a number that can be stored")
    elif field.min is not None and value < field.min:
        found.add(path, f"must be at least {_plain(field.min)}")
    elif field.max is not None and value > field.max:
        found.add(path, f"must be at most {_plain(field.max)}")


def _plain(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else str(number)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _check_text(found: _Problems, path: str, field: FieldSpec, value: Any) -> None:
    if not isinstance(value, str):
        wanted = "the key of a document" if field.type == "ref" else "a string"
        found.add(path, f"must be {wanted}")
    elif UNSTORABLE.search(value):
        found.add(path, "has a null character or half a character in it")
    elif field.type == "datetime" and parse_time(value) is None:
        found.add(path, 'must be an ISO 8601 date or time, such as "2026-03-06T14:00:00Z"')
    elif field.type == "enum" and value not in (field.values or ()):
        found.add(path, f"must be one of {', '.join(field.values or ())}")
    elif field.type == "ref" and not value:
        found.add(path, "must not be empty")


def _make_key(found: _Problems, spec: StoreSpec, payload: dict[str, Any]) -> str:
    """The key template filled in."""

    def fill(match: re.Match[str]) -> str:
        value = payload[match[1]]
        if value is None or value == "":
            found.add(match[1], "is a part of the key and must not be empty")
        return _key_text(value)

    key = re.sub(r"\{([^{}]*)\}", fill, spec.entity.key)
    if len(key) > KEY_CHARS:
        found.add(spec.entity.key_fields[0], f"makes a key of more than {KEY_CHARS} characters")
    if CONTROL.search(key):
        found.add(spec.entity.key_fields[0], "makes a key with control characters in it")
    return key


def _key_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
