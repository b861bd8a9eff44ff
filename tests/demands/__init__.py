"""What is demanded of this project, sentence by sentence, and where it says so."""

from __future__ import annotations

from typing import NamedTuple


class Demand(NamedTuple):
    """Where something is demanded, and what."""

    page: str
    what: str


def of(page: str, **demands: str) -> dict[str, Demand]:
    head, _, section = page.partition(" ")
    prefix = head.split("-")[0]
    return {
        f"{prefix}.{name.replace('_', '-')}": Demand(f"spec/{head}.md {section}".strip(), what)
        for name, what in demands.items()
    }
