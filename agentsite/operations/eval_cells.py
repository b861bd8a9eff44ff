"""Results as cells of eval and model, and what became of each since an earlier time.

Law: a cell passes when all its repeats passed. It has got worse when it passed before and does
not any more; what failed before, or was not tried before, is no regression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from agentsite.operations.evals import EvalResult

Key = tuple[str, str]
"""Name of the eval, and `provider/model`."""
Change = Literal["worse", "better", "same", "new"]


class Cell(msgspec.Struct, frozen=True):
    """The results of one eval on one model."""

    name: str
    model: str
    results: tuple[EvalResult, ...]

    @property
    def count(self) -> int:
        return len(self.results)

    @property
    def passed(self) -> int:
        return sum(each.status == EvalResult.Status.PASSED for each in self.results)

    @property
    def good(self) -> bool:
        """Whether all of it passed."""
        return self.passed == self.count

    @property
    def mark(self) -> str:
        """How it stands, in a word: the worst of its results."""
        there = {each.status for each in self.results}
        for status in ("running", "pending", "failed", "error", "skipped"):
            if status in there:
                return status
        return "passed"

    @property
    def latency_ms(self) -> int | None:
        """The mean of the runs that ended."""
        took = [each.duration_ms for each in self.results if each.duration_ms is not None]
        return round(sum(took) / len(took)) if took else None

    @property
    def cost_micros(self) -> int | None:
        """Of the agent; None where a price is unknown."""
        return add([each.cost_micros for each in self.results if each.run_id])


def add(amounts: Sequence[int | None]) -> int | None:
    """Their sum; None as soon as one is unknown."""
    known = [each for each in amounts if each is not None]
    return sum(known) if len(known) == len(amounts) else None


def make_cells(results: Iterable[EvalResult]) -> dict[Key, Cell]:
    """Results by eval and model, in their order."""
    found: dict[Key, list[EvalResult]] = {}
    for each in results:
        found.setdefault((each.name, each.model), []).append(each)
    return {key: Cell(*key, tuple(rows)) for key, rows in found.items()}


def compare(cells: Mapping[Key, Cell], before: Mapping[Key, bool]) -> dict[Key, Change]:
    """For each cell what became of it; `before` says which passed."""
    return {key: _compare(cell.good, before.get(key)) for key, cell in cells.items()}


def _compare(good: bool, before: bool | None) -> Change:
    if before is None:
        return "new"
    if good == before:
        return "same"
    return "better" if good else "worse"
