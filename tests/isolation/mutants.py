"""Every scope filter that the program's Python has, found in its source, and how to remove each.

Law: a filter is removed from a copy of the program, never from the program. What remains asks for
the rows of all scopes; only the database can then keep them apart.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.servers import ROOT

ROOMS = (
    "sessions_app",
    "stores_app",
    "memory_app",
    "automations_app",
    "agentsite/host",
    "agentsite/tools",
    "agentsite/bus",
    "agentsite/operations",
)
"""Where tenants' rows are asked for; the admin and migrations work for all scopes."""
QUESTIONS = {"filter", "exclude", "get", "aget", "get_or_create", "update_or_create", "Q"}
IN_SQL = re.compile(rb"\b(?:\w+\.)?scope_id = %s")
ANY = b"%s::text IS NOT NULL"
"""What stands in SQL instead: it takes the same parameter and holds for every row."""
BUS = "agentsite/host/bus.py"
LIVE = {
    b"channels.add(scope_channel(told.scope_id))": b"channels.update(manager.listeners_by_channel)",
    b"may_hear(self._channel, item)": b"True",
}
"""What keeps live events apart, which are read for all scopes: two filters, for no database does.
"""


class Filter(NamedTuple):
    """One filter: the bytes `start` to `end` of a file, and what removes it."""

    path: str
    line: int
    start: int
    end: int
    instead: bytes
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.text}"


def find_filters(root: Path = ROOT) -> list[Filter]:
    """All of them, in the order of files and lines."""
    found: list[Filter] = []
    for room in ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            path = file.relative_to(root)
            if "migrations" not in path.parts and "admin" not in path.with_suffix("").parts:
                found += _find_in(file.read_bytes(), str(path))
    return sorted(set(found))


def _find_in(source: bytes, path: str) -> Iterator[Filter]:
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    spans = [(*match.span(), ANY) for match in IN_SQL.finditer(source)]
    if path == BUS:
        spans += [(source.index(text), source.index(text) + len(text), LIVE[text]) for text in LIVE]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            spans += _find_in_call(node, source, begins)
    for start, end, instead in spans:
        text = " ".join(source[start:end].decode().split())
        yield Filter(path, source.count(b"\n", 0, start) + 1, start, end, instead, text)


def _find_in_call(
    node: ast.Call, source: bytes, begins: list[int]
) -> Iterator[tuple[int, int, bytes]]:
    def end_of(part: ast.expr) -> int:
        return begins[(part.end_lineno or 0) - 1] + (part.end_col_offset or 0)

    called = node.func
    if isinstance(called, ast.Attribute) and called.attr == "for_scope":
        yield end_of(called.value), end_of(node), b".all()"
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    if name not in QUESTIONS:
        return
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg.split("__")[-1] == "scope_id":
            end = end_of(keyword.value)
            comma = re.match(rb"\s*,", source[end:])
            start = begins[keyword.lineno - 1] + keyword.col_offset
            yield start, end + (comma.end() if comma else 0), b""


class Copy:
    """A copy of the program that lacks one filter at a time."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        kept = shutil.ignore_patterns(".git", ".venv", "tests", ".*_cache", "data", "node_modules")
        shutil.copytree(ROOT, folder, ignore=kept)
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def remove(self, *mutants: Filter) -> None:
        """Take these filters out, and put back what was taken out before."""
        for path in {each.path for each in find_filters()}:
            source, here = (ROOT / path).read_bytes(), self.root / path
            for mutant in sorted(mutants, reverse=True):  # from the end, or places would move
                if path == mutant.path:
                    source = source[: mutant.start] + mutant.instead + source[mutant.end :]
            ast.parse(source)
            if here.read_bytes() != source:
                here.write_bytes(source)
