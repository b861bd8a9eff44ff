"""Figures of several runs, their medians, and the bars they stand beside."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec


class Bar(msgspec.Struct, frozen=True):
    """What a figure must reach."""

    table: str
    row: str
    column: str
    limit: float
    baseline: str = ""
    """Column with the same figure taken directly."""
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit


class Figures:
    """Values by table, row and column, one for each run, in the order of their coming."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, dict[str, list[float]]]] = {}

    def add(self, table: str, row: str, **columns: float) -> None:
        """Note one row of one run; `_` in a column's name is shown as a space."""
        cells = self._values.setdefault(table, {}).setdefault(row, {})
        for name, value in columns.items():
            cells.setdefault(name.replace("_", " "), []).append(value)

    def tables(self) -> list[str]:
        """Names of the tables that have values."""
        return list(self._values)

    def rows(self, table: str) -> dict[str, dict[str, float]]:
        """Medians of a table: row → column → value."""
        return {
            row: {name: statistics.median(values) for name, values in cells.items()}
            for row, cells in self._values[table].items()
        }

    def values(self, table: str, row: str, column: str) -> list[float]:
        """All values of one figure; none when it was not measured."""
        return self._values.get(table, {}).get(row, {}).get(column, [])


def quantile(values: Sequence[float], part: float) -> float:
    """The value that `part` of all do not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def quantiles(values: Sequence[float], prefix: str = "") -> dict[str, float]:
    """p50, p95 and p99 as columns."""
    return {f"{prefix}p{part}": quantile(values, part / 100) for part in (50, 95, 99)}
