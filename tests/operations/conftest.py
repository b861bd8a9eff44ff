"""How long the race for a budget is run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--race-rounds", type=int, default=12, help="rounds of 64 parallel calls on one budget"
    )
