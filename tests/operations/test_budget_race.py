"""Sixty-four calls at once on what one budget has left: never more is held than there is.

The full size: `pytest tests/operations/test_budget_race.py --race-rounds 1000`.
"""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from agentsite.operations.budgets import Limit, Standing, read_standing, reserve
from agentsite.rows.tenancy import acting_for, acting_for_all
from agentsite.rows.units import unit
from sessions_app.actions import RunRef
from tests.operations.money import asked, cost, payer, run_of, settle
from tests.requirements import requirement

CALLS = 64


@requirement("runs.budget-race")
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(3600)
async def test_parallel_calls_never_go_beyond_a_budget(
    request: pytest.FixtureRequest, record_property: pytest.RecordProperty
) -> None:
    rounds: int = request.config.getoption("--race-rounds")
    rng = random.Random(7)
    granted = refused = 0
    began = time.monotonic()
    with acting_for_all("a test's own rows"):
        ref = await unit(run_of, "race")
    for number in range(rounds):
        agent = f"agent-{number}"
        mine = await race(agent, rng, ref)
        granted += mine[0]
        refused += mine[1]
    assert granted and refused
    record_property("granted", granted)
    print(
        f"{rounds} rounds of {CALLS} parallel calls: {granted} granted, {refused} refused,"
        f" 0 overshoots, {time.monotonic() - began:.0f} s"
    )


async def race(agent: str, rng: random.Random, ref: RunRef) -> tuple[int, int]:
    """One budget for an agent, one for its scope and one for the run; who got money, who not."""
    limit = rng.randrange(1_000, 40_000)
    limits = (
        Limit("agent", "day", limit),
        Limit("scope", "month", limit + rng.randrange(2_000)),
        Limit("run", "run", 10**9),
    )
    who = payer("race", agent=agent)
    wanted = []
    for _ in range(CALLS):
        least = rng.randrange(200, 2_000)
        wanted.append((least, least + rng.randrange(1_500), rng.choice((None, 300)), rng.random()))

    async def call(least: int, most: int, closing: int | None, share: float) -> bool:
        """Reserve, and settle some of it at once; True: it was granted."""
        mine = payer("race", agent=agent)
        want = asked(least, most, closing)
        got = await unit(reserve, mine, limits, want)
        if not isinstance(got, int):
            assert isinstance(got, Standing)
            return False
        assert least <= got <= most
        if share < 0.5:
            row = cost(round(got * share * 2), hold=want.id, agent=agent)
            await unit(settle, ref, row)
        return True

    async def watch(stop: asyncio.Event) -> None:
        while not stop.is_set():
            with acting_for_all("the judge"):
                now = await unit(read_standing, who, limits)
            for each in now:
                assert each.spent + each.held <= each.limit_micros, (agent, each)

    with acting_for("race"):
        stop = asyncio.Event()
        judge = asyncio.create_task(watch(stop))
        results = await asyncio.gather(*(call(*each) for each in wanted))
        stop.set()
        await judge
    with acting_for_all("the judge"):
        for each in await unit(read_standing, who, limits):
            assert each.spent + each.held <= each.limit_micros, (agent, each)
    return sum(results), CALLS - sum(results)
