"""The brake: a pause, then one call after the other, until answers ease it."""

from __future__ import annotations

import pytest

from agentsite.providers.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_waits_when_nothing_is_wrong() -> None:
    throttle = Throttle(Clock())
    assert throttle.wait("k") == throttle.start("k") == 0


def test_a_refusal_pauses_its_key_and_no_other() -> None:
    throttle = Throttle(Clock())
    throttle.slow("k", 5.0)
    assert throttle.wait("k") == pytest.approx(5.0)
    assert throttle.wait("other") == 0


def test_calls_start_one_by_one_after_the_pause() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    throttle.slow("k", 2.0)
    places = [throttle.start("k") for _ in range(4)]
    assert places == pytest.approx([2.0, 2.25, 2.5, 2.75])


def test_the_gap_widens_with_refusals_and_closes_with_answers() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(3):
        throttle.slow("k", 0.0)
    throttle.start("k")
    assert throttle.wait("k") == pytest.approx(1.0)
    clock.now += 60
    for _ in range(6):
        throttle.ease("k")
    assert throttle.start("k") == throttle.start("k") == 0


def test_it_remembers_a_bounded_number_of_keys() -> None:
    throttle = Throttle(Clock())
    for number in range(5000):
        throttle.slow(str(number), 1.0)
    assert throttle.wait("0") == 0
    assert throttle.wait("4999") > 0
