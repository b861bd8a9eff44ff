"""OpenAPI documents as surfaces: read, compared, and merged into `surface.md`.

Law: pure. What an author wrote under an endpoint, and where it was put, stays; the document
says only which endpoints there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import yaml

from agentsite.connections.errors import Refused
from agentsite.connections.surface import ENDPOINT, HEADING
from agentsite.manifest.connections import Filter

METHODS = ("get", "post", "put", "patch", "delete")
DESCRIPTION_CHARS = 500


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint of a document."""

    key: str
    """`METHOD /path`."""
    path: str
    text: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """Where a surface and its document part."""

    added: tuple[str, ...]
    """In the document alone."""
    gone: tuple[str, ...]
    """In the surface alone."""

    def __bool__(self) -> bool:
        return bool(self.added or self.gone)


def read_document(raw: bytes) -> tuple[Operation, ...]:
    """The operations of an OpenAPI 3 or Swagger 2 document, JSON or YAML. Raises `Refused`."""
    try:
        text = raw.decode("utf-8-sig")
        document = json.loads(text) if text.lstrip()[:1] == "{" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise Refused("The document behind specUrl is neither JSON nor YAML.") from None
    known = isinstance(document, dict) and ("openapi" in document or "swagger" in document)
    paths = document.get("paths") if known else None
    if not isinstance(paths, dict):
        raise Refused("The document behind specUrl is no OpenAPI document with paths.")
    return tuple(sorted(_list_operations(paths), key=lambda one: (one.path, one.key)))


def _list_operations(paths: dict[str, Any]) -> Iterator[Operation]:
    for path, item in paths.items():
        if not isinstance(item, dict) or not str(path).startswith("/") or " " in str(path):
            continue
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                tags = tuple(str(tag) for tag in operation.get("tags") or ())
                key = f"{method.upper()} {path}"
                yield Operation(key, str(path), _describe(operation, item), tags)


def _describe(operation: dict[str, Any], item: dict[str, Any]) -> str:
    """Summary and parameters, as one or two lines without headings."""
    told = str(operation.get("summary") or operation.get("description") or "").strip()
    lines = [" ".join(told.split())[:DESCRIPTION_CHARS]]
    given = [*(item.get("parameters") or ()), *(operation.get("parameters") or ())]
    names = [
        f"{one['name']}{' (required)' if one.get('required') else ''}"
        for one in given
        if isinstance(one, dict) and one.get("in") == "query" and "name" in one
    ]
    if names:
        lines.append(f"Query: {', '.join(names)}")
    return "\n".join(line.lstrip("# ") for line in lines if line)


def takes(wanted: Filter | None, operation: Operation) -> bool:
    """Tell whether the spec's `filter` includes an operation."""
    if wanted is None:
        return True
    if wanted.tags and not set(wanted.tags) & set(operation.tags):
        return False
    if wanted.include_paths and not _fits(operation.path, wanted.include_paths):
        return False
    return not _fits(operation.path, wanted.exclude_paths)


def _fits(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) or path == pattern for pattern in patterns)


def find_drift(surface: str, operations: tuple[Operation, ...]) -> Drift:
    """Compare endpoints by method and path; names of placeholders do not count."""
    told = {_flatten(key): key for key in _split(surface)}
    there = {_flatten(one.key): one.key for one in operations}
    return Drift(
        tuple(key for flat, key in there.items() if flat not in told),
        tuple(key for flat, key in told.items() if flat not in there),
    )


def merge(surface: str, operations: tuple[Operation, ...], wanted: Filter | None) -> str:
    """The new text of `surface.md`."""
    told = {_flatten(key): entry for key, entry in _split(surface).items()}
    included: list[str] = []
    excluded: list[str] = []
    for one in operations:
        key, text, out = told.get(_flatten(one.key), (one.key, one.text, not takes(wanted, one)))
        (excluded if out else included).append(f"### {key}\n{text}".rstrip())
    parts = [_preamble(surface), "## Included", *included]
    if excluded:
        parts += ["## Excluded", *excluded]
    return "\n\n".join(part for part in parts if part) + "\n"


def _preamble(surface: str) -> str:
    """What stands above the first heading of ours."""
    return re.split(r"^(?:##[ \t]|###[ \t])", surface, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _split(surface: str) -> dict[str, tuple[str, str, bool]]:
    """Endpoints with their text, and whether they are excluded, by `METHOD /path`."""
    found: dict[str, tuple[str, str, bool]] = {}
    out, key = False, ""
    for line in surface.splitlines():
        if heading := HEADING.match(line):
            out, key = heading[1].lower().startswith("exclude"), ""
        elif endpoint := ENDPOINT.match(line):
            key = f"{endpoint[1]} {endpoint[2]}"
            found[key] = (key, endpoint[3].strip(), out)
        elif key:
            found[key] = (key, f"{found[key][1]}\n{line}".strip(), out)
    return found


def _flatten(key: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", key)
