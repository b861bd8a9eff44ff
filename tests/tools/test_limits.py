"""Limits that calls of a process share: rates, places, bounded queues; and refused calls."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agentsite.engine.messages import ToolCallPart
from agentsite.manifest.blocks import Permissions
from agentsite.tools.base import ToolContext, ToolError, ToolResult
from agentsite.tools.executor import Settled, run_calls
from agentsite.tools.limits import BUSY, Limits, Pool, Window
from agentsite.tools.permissions import Guard
from tests.requirements import requirement
from tests.tools.agents import Calls
from tests.tools.runs import OK, Runner, answer, make_tool


class Crowd:
    """Counts what runs at once."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.done = 0

    async def take_part(self, _context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(3):
            await asyncio.sleep(0)
        self.running -= 1
        self.done += 1
        return OK


@requirement("runs.tool-limits")
async def test_many_calls_of_many_sessions_hold_every_limit(
    calls: Calls, pytestconfig: pytest.Config
) -> None:
    """Fifty sessions with a hundred calls each; `--sessions` makes it fewer or more."""
    sessions = pytestconfig.getoption("--sessions") or 50
    limits, crowd, boxed = Limits(at_once=40, queue=5_000, sandboxes=4), Crowd(), Crowd()
    remote = Crowd()
    tools = {
        "plain": make_tool("plain", crowd.take_part),
        "boxed": make_tool("boxed", boxed.take_part, pool="sandbox"),
        "remote": make_tool("remote", remote.take_part, host=lambda _: "a.example"),
    }
    names = ["plain", "plain", "boxed", "remote"] * 25
    settled: dict[str, Settled] = {}

    async def report(call: ToolCallPart, result: Settled) -> None:
        assert call.id not in settled
        settled[call.id] = result

    async def turn(session: int) -> None:
        parts = [ToolCallPart(f"tc_{session}_{n}", name, {}) for n, name in enumerate(names)]
        await run_calls(
            parts,
            tools,
            lambda call, deadline: calls.context(call.name, call.id, deadline),
            concurrency=8,
            timeout_s=30,
            settled=report,
            limits=limits,
        )

    await asyncio.gather(*(turn(number) for number in range(sessions)))
    assert len(settled) == sessions * 100
    assert {each.status for each in settled.values()} == {"ok"}
    assert 8 < crowd.most <= 40
    assert boxed.most == 4
    assert remote.most <= 16
    assert limits.count_running() == limits.count_running("sandbox") == 0


@requirement("runs.tool-rates")
async def test_a_tool_begins_no_more_often_than_its_rate(runner: Runner) -> None:
    tool = make_tool("slow", answer, rate=(2, 0.05))
    began = time.monotonic()
    settled = await runner.run([tool], *["slow"] * 6, agent="desk", limits=Limits())
    assert {each.status for each in settled} == {"ok"}
    assert time.monotonic() - began >= 0.1


async def test_a_rate_that_is_far_from_free_is_told_at_once(runner: Runner) -> None:
    tool = make_tool("rare", answer, rate=(1, 3600))
    first, second = await runner.run([tool], "rare", "rare", limits=Limits())
    assert first.status == "ok"
    assert second.result.text == ("The limit of 1 calls in 3600 s is reached; try again in 3600 s.")


async def test_hosts_have_rates_of_their_own(runner: Runner) -> None:
    def host(arguments: Any) -> str:
        return str(arguments["url"])

    tool = make_tool("fetch", answer, host=host, host_rate=lambda _: (1, 3600))
    parts = [ToolCallPart(f"tc_{n}", "fetch", {"url": url}) for n, url in enumerate("aab")]
    await runner.run_parts([tool], parts, limits=Limits())
    assert {name: each.status for name, each in runner.settled} == {
        "tc_0": "ok",
        "tc_1": "error",
        "tc_2": "ok",
    }


async def test_a_queue_takes_no_more_than_it_may() -> None:
    pool = Pool(1, queue=1)
    async with pool.slot(1):
        waiting = asyncio.create_task(_pass(pool))
        await asyncio.sleep(0)
        with pytest.raises(ToolError, match=BUSY):
            await _pass(pool)
    await waiting
    assert pool.idle


async def test_a_place_that_does_not_come_free_is_not_waited_for_for_ever() -> None:
    pool = Pool(1, queue=9)
    async with pool.slot(1):
        with pytest.raises(ToolError, match=BUSY):
            await _pass(pool, 0.01)


async def _pass(pool: Pool, patience: float = 5) -> None:
    async with pool.slot(patience):
        pass


def test_a_window_keeps_its_rate_when_calls_come_late() -> None:
    window = Window(2, 10)
    assert [window.reserve(0), window.reserve(0)] == [0, 0]
    assert 9 < window.reserve(60) <= 10
    assert not window.idle


@requirement("agent.permissions")
async def test_a_refused_call_never_runs_and_says_why(runner: Runner) -> None:
    crowd = Crowd()
    guard = Guard(Permissions(deny=("wipe",)))
    tools = [make_tool("wipe", crowd.take_part), make_tool("look", answer)]
    wiped, looked = await runner.run(tools, "wipe", "look", guard=guard)
    assert (wiped.status, looked.status, crowd.done) == ("error", "ok", 0)
    assert wiped.result.text == "Permission denied: the rule wipe says so."
