"""Without any one filter of the program nothing of another scope is seen: the database holds.

How to: `pytest tests/isolation/test_mutants.py --mutants all -s` prints a table of every filter;
a plain run takes a sample of two, the same ones every time.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agentsite.rows.policies import OWN
from tests.isolation.mutants import LIVE, Copy, Filter, find_filters
from tests.isolation.probes import Stranger, probe_counts, probe_keys, probe_refusals, probe_routes
from tests.isolation.recipes import Recipe
from tests.isolation.streams import probe_streams
from tests.isolation.tools import probe_tools
from tests.isolation.world import World
from tests.requirements import requirement
from tests.servers import Server

SEED = 4
PROBES = (probe_counts, probe_routes, probe_refusals, probe_keys, probe_streams, probe_tools)
POLICY = b"ALTER POLICY tenant ON sessions_app_session USING (%b)"
LEAST = 30
"""Filters that the program has at the least: else they are no longer found."""


def choose(asked: str) -> list[Filter]:
    """All, or so many of them."""
    every = find_filters()
    if asked == "all":
        return every
    return random.Random(SEED).sample(every, int(asked))


def find_leaks(world: World, server: Server) -> Iterator[str]:
    """Everything that any probe finds wrong."""
    for probe in PROBES:
        yield from probe(world, server)


def test_filters_are_found() -> None:
    kinds = {each.instead for each in find_filters()}
    assert len(find_filters()) >= LEAST
    assert len(kinds) == 3 + len(LIVE), kinds


def test_without_filter_and_policy_the_probes_see_a_leak(
    world: World, server: Server, tmp_path: Path
) -> None:
    """The control: what holds is the database, and the copy is what is served."""
    copy = Copy(tmp_path / "copy")
    [mutant] = [f for f in find_filters() if f.path == "sessions_app/querysets.py"]
    copy.remove(mutant)
    stranger = Stranger(world, server, f"stranger-{uuid.uuid4().hex}")
    recipe = Recipe("sessions/<str:session_id>", "GET", "/sessions/{session}", "", None)
    with psycopg.connect(world.database, autocommit=True) as rows:
        rows.execute(POLICY % b"true")
        try:
            assert list(stranger.compare(recipe)) == []
            with world.serve(copy.root) as mutated:
                assert list(Stranger(world, mutated, stranger.client.scope).compare(recipe))
        finally:
            rows.execute(POLICY % OWN.encode())
    assert list(stranger.compare(recipe)) == []


@pytest.mark.timeout(300)
def test_live_events_are_kept_apart_by_either_of_two_filters(world: World, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy")
    mutants = [each for each in find_filters() if each.instead in LIVE.values()]
    heard = []
    for removed in ([mutants[0]], [mutants[1]], mutants):
        copy.remove(*removed)
        with world.serve(copy.root) as mutated:
            heard.append(bool(list(probe_streams(world, mutated))))
    assert heard == [False, False, True]


@requirement("scope.without-filter", "scope.enumerated")
@pytest.mark.timeout(0)
def test_no_single_filter_keeps_scopes_apart(
    world: World, server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    copy = Copy(tmp_path / "copy")
    leaking: list[str] = []
    for mutant in choose(request.config.getoption("--mutants")):
        copy.remove(mutant)
        with world.serve(copy.root) as mutated:
            leaks = list(find_leaks(world, mutated))
        print(f"{'killed' if leaks else 'passed'}  {mutant}", flush=True)
        leaking += [f"{mutant}: {leak}" for leak in leaks]
    assert not leaking, "\n".join(leaking)
