"""The process's one writer of the log: what one run brings must not cost the others theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentsite.engine.events import TextStreamed
from agentsite.host.hub import Hub
from agentsite.host.journal import Journal, RunLog
from sessions_app.actions import LeaseLost, RunRef

pytestmark = pytest.mark.django_db(transaction=True)
BOUND = 10.0


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    journal = Journal(Hub(), 0.001)
    journal.start()
    yield journal
    await journal.close()


def make_log(name: str) -> RunLog:
    """The log of a run that has numbers enough."""
    return RunLog(RunRef(f"run_{name}", 1, f"sess_{name}", ""), 1, 1_000_000)


def fail() -> None:
    raise ValueError("nobody foresaw this")


async def test_what_nobody_foresaw_breaks_one_run_and_not_the_writer(journal: Journal) -> None:
    broken, sound = make_log("a"), make_log("b")
    async with asyncio.timeout(BOUND):
        told = await asyncio.gather(
            journal.commit(broken, (), fail),
            journal.commit(sound, (), lambda: "written"),
            return_exceptions=True,
        )
        assert isinstance(told[0], LeaseLost)
        assert isinstance(told[0].__cause__, ValueError)
        assert told[1] == "written"
        assert await journal.commit(sound, (), lambda: "again") == "again"
    with pytest.raises(LeaseLost):
        journal.emit(broken, TextStreamed("too late"))


async def test_a_text_that_cannot_be_encoded_breaks_its_run_alone(journal: Journal) -> None:
    broken, sound = make_log("c"), make_log("d")
    journal.emit(broken, TextStreamed("lone \ud800"))
    async with asyncio.timeout(BOUND):
        assert await journal.commit(sound, (), lambda: "written") == "written"
        with pytest.raises(LeaseLost):
            await journal.commit(broken, (), lambda: "unreachable")
