"""Every invariant of a run, after any interleaving of models, tools, people and crashes."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from agentsite.engine.limits import CLOSING_TEXT
from tests.engine.conftest import PLAYED
from tests.engine.simulation import SPENT, World

PARTS = 8
"""So that several workers can share the work."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_invariant_holds_in_every_interleaving(
    part: int, interleavings: int, record_property: Callable[[str, object], None]
) -> None:
    """One seed is one script; a failure names its seed."""
    began, steps, played = time.monotonic(), 0, 0
    for seed in range(part, interleavings, PARTS):
        world = World(Random(seed))
        try:
            world.play()
        except Exception as error:
            error.add_note(f"World(Random({seed})).play() shows it again")
            raise
        steps += world.ticks
        played += 1
    record_property(PLAYED, (played, steps, time.monotonic() - began))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_a_failing_interleaving_shrinks_to_a_small_one(rng: Random) -> None:
    """The same world; what is found here comes as the smallest script that shows it."""
    World(rng).play()


def test_a_seed_is_a_whole_script() -> None:
    """What failed once can be played again."""
    first, second = World(Random(11)), World(Random(11))
    first.play()
    second.play()
    assert first.rows.log == second.rows.log
    assert first.seen == second.seen


def test_the_scripts_reach_every_corner() -> None:
    """A simulation that never crashes, asks or compacts would prove nothing."""
    seen: set[str] = set()
    for seed in range(400):
        world = World(Random(seed))
        world.play()
        for entry in world.rows.log:
            event = entry.event
            seen.add(type(event).__name__)
            seen.add(str(getattr(event, "reason", "")))
            seen.add(str(getattr(event, "status", "")))
            seen.add(str(getattr(event, "code", "")))
            seen.add(str(getattr(event, "message", "")))
            seen.add(str(getattr(event, "result", "")))
    wanted = """
        Init UserJoined MessagesRemoved TextStreamed ToolStarted ToolProgressed ToolEnded
        WidgetShown ConfirmationRequired UserAsked Approved Denied CompactionStarted
        CompactionEnded ContextMeasured ProviderSwitched TitleChanged Noticed RunResumed Failed
        Done model_stop max_turns loop_detected budget_exceeded user_abort error stopped
        ok denied interrupted expired poisoned run_timeout context_overflow
        provider_context_overflow provider_server
    """
    assert {*wanted.split(), SPENT, CLOSING_TEXT} - seen == set()
