"""`pytest tests/engine --interleavings N` plays N scripts of the simulation; the end tells it."""

from __future__ import annotations

import pytest

DEFAULT = 10_000
PLAYED = "interleavings"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--interleavings",
        type=int,
        default=DEFAULT,
        help=f"scripts that the simulation of the run machine plays (default {DEFAULT:,})",
    )


@pytest.fixture(scope="session")
def interleavings(request: pytest.FixtureRequest) -> int:
    """How many scripts to play in all; the option is unknown where this folder is not named."""
    return int(request.config.getoption("--interleavings", DEFAULT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many were played, on all workers together."""
    played, steps, seconds = 0, 0, 0.0
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == PLAYED and report.when == "call":
                played, steps, seconds = (
                    played + value[0],
                    steps + value[1],
                    seconds + value[2],
                )
    if played:
        terminalreporter.write_line(
            f"{played:,} interleavings of the run machine, {steps:,} steps, {seconds:.1f} s"
        )
