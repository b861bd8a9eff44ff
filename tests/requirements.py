"""What is demanded of this project, sentence by sentence, and the mark that says "tested here".

Law: each id names the page and section that demands it, and what, in our own words. Tests
carry `@requirement("id")`; `test_requirements.py` finds ids without a test, and marks
without an id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tests.demands import Demand
from tests.demands.serving import SERVING
from tests.demands.working import WORKING

T = TypeVar("T", bound=Callable[..., Any])
DEMANDS: dict[str, Demand] = {**SERVING, **WORKING}


def requirement(*ids: str) -> Callable[[T], T]:
    """Mark a test as proof of these demands."""
    unknown = [each for each in ids if each not in DEMANDS]
    if unknown:
        raise KeyError(f"no such demand: {', '.join(unknown)}")
    return lambda test: test
