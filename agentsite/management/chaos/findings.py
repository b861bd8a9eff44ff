"""What the judges found, by kind; the report's columns."""

from __future__ import annotations

from collections import defaultdict

KINDS = (
    "lost", "doubled effects", "stuck", "gaps", "duplicates", "fold differences",
    "unexplained unknowns", "fence breaches", "history faults", "stalled streams", "surprises",
    "not reached",
)  # fmt: skip
"""None of these may be found, ever."""


class Findings:
    """Violations with their proof, and plain figures."""

    def __init__(self) -> None:
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.figures: dict[str, float] = {}

    def fault(self, kind: str, text: str) -> None:
        """Note a violation of one of `KINDS`."""
        if kind not in KINDS:
            raise ValueError(kind)
        self.faults[kind].append(text)

    @property
    def clean(self) -> bool:
        """Whether nothing was violated."""
        return not any(self.faults.values())
