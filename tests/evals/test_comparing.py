"""What counts as worse than before, and the file that says what was before."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from agentsite.evals.report import make_report, read_baseline
from agentsite.evals.wishes import CannotTry
from agentsite.management.commands.eval import is_sound
from agentsite.operations.eval_cells import add, compare, make_cells
from agentsite.operations.evals import EvalResult, EvalRun
from tests.requirements import requirement

NOW = dt.datetime(2026, 5, 6, tzinfo=dt.UTC)


def result(name: str, status: str, model: str = "a/b", **more: object) -> EvalResult:
    return EvalResult(name=name, model=model, status=status, run_id="run_1", **more)


@requirement("evals.regression")
def test_a_cell_is_good_when_all_its_repeats_passed() -> None:
    rows = [
        result("one", "passed", duration_ms=100, cost_micros=3),
        result("one", "failed", duration_ms=300, cost_micros=4),
        result("two", "passed", cost_micros=None),
        result("three", "error"),
        result("three", "running"),
    ]
    cells = make_cells(rows)
    one, two, three = cells.values()
    assert (one.passed, one.count, one.good, one.mark) == (1, 2, False, "failed")
    assert (one.latency_ms, one.cost_micros) == (200, 7)
    assert (two.good, two.latency_ms, two.cost_micros) == (True, None, None)
    assert three.mark == "running"
    assert add([]) == 0
    assert add([1, None]) is None


@requirement("evals.regression")
@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        (True, "passed", "same"),
        (True, "failed", "worse"),
        (True, "error", "worse"),
        (False, "failed", "same"),
        (False, "passed", "better"),
        (None, "failed", "new"),
    ],
)
def test_what_became_of_a_cell(before: bool | None, now: str, change: str) -> None:
    key = ("one", "a/b")
    known = {} if before is None else {key: before}
    assert compare(make_cells([result("one", now)]), known) == {key: change}


@requirement("evals.regression")
def test_a_report_is_read_as_a_baseline() -> None:
    row = EvalRun(id="eval_1", agent="desk", created_at=NOW, status="done")
    judged = {"text": "x", "kind": "rubric", "negated": False, "passed": None, "reason": "y"}
    rows = [
        result("one", "passed", repeat=1),
        result("one", "failed", repeat=2, assertions=[judged]),
        result("one", "passed", model="a/c"),
    ]
    raw = msgspec.json.encode(make_report(row, rows))
    assert msgspec.json.decode(raw)["results"][1]["assertions"] == [judged]
    assert read_baseline(raw) == {("one", "a/b"): False, ("one", "a/c"): True}


@requirement("evals.regression")
@pytest.mark.parametrize("raw", [b"", b"[]", b'{"format": "other"}', b"\xff"])
def test_another_file_is_no_baseline(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no report of evals"):
        read_baseline(raw)


@requirement("evals.command", "evals.regression")
def test_when_the_command_ends_well() -> None:
    def ends_well(before: dict[tuple[str, str], bool] | None) -> bool:
        cells = make_cells([result("one", "failed"), result("two", "passed")])
        return is_sound(cells, compare(cells, before or {}), compared=before is not None)

    one, two, three = (("one", "a/b"), ("two", "a/b"), ("three", "a/b"))
    assert not ends_well(None)
    assert ends_well({one: False, two: True})
    assert ends_well({two: True, three: True}), "what is new and fails is no regression"
    assert not ends_well({one: True})
    with pytest.raises(CannotTry, match="nothing to compare"):
        ends_well({three: True})
