"""Every demand has a test, and every mark names a demand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.requirements import DEMANDS

TESTS = Path(__file__).parent


def marks() -> Iterator[tuple[str, str]]:
    """Each `@requirement(...)` on a test: its file and one id."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "requirement":
                    assert node.name.startswith("test_"), f"{node.name} is no test"
                    for word in mark.args:
                        assert isinstance(word, ast.Constant)
                        yield path.name, str(word.value)


def test_every_demand_has_a_test() -> None:
    assert sorted(DEMANDS.keys() - {word for _, word in marks()}) == []


def test_every_mark_names_a_demand() -> None:
    assert [(file, word) for file, word in marks() if word not in DEMANDS] == []


def test_every_demand_says_where_it_stands() -> None:
    assert [word for word, demand in DEMANDS.items() if not (demand.page and demand.what)] == []
