"""Cancellation: at every await point, once or twice, and of tools that resist."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from agentsite.engine.history import UNFINISHED
from agentsite.engine.messages import ToolCallPart
from agentsite.tools.base import ToolContext, ToolResult
from agentsite.tools.executor import Settled
from agentsite.tools.threads import run_in_thread
from tests.tools.agents import Calls
from tests.tools.runs import OK, Runner, answer, make_tool, wait_for_ever


async def steps_of_three(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
    for _ in range(3):
        await asyncio.sleep(0)
    return OK


async def let_pass(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.mark.parametrize("again", [None, 0, 1, 3])
async def test_a_cancellation_at_any_moment_leaves_one_result_per_call(
    calls: Calls, again: int | None
) -> None:
    """Every await point, and a second cancellation while the first is dealt with."""
    names = ["quick", "steps", "steps", "alone", "steps", "unknown"]
    tools = [make_tool("quick", answer), make_tool("steps", steps_of_three),
             make_tool("alone", steps_of_three, exclusive=True)]  # fmt: skip
    interrupted = 0
    for moment in range(80):
        runner = Runner(calls)
        task = asyncio.create_task(runner.run(tools, *names, concurrency=2, grace_s=1.0))
        await let_pass(moment)
        if task.done():
            break
        task.cancel()
        if again is not None:
            await let_pass(again)
            task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait({task})
        if moment == 0:
            assert task.cancelled()  # before its first step: nothing has begun, none is told
            continue
        assert task.cancelled()
        assert sorted(call_id for call_id, _ in runner.settled) == [f"tc_{n}" for n in range(6)]
        for call_id, settled in runner.settled:
            if settled.status == "interrupted":
                interrupted += 1
                assert settled.result.text == UNFINISHED
            else:
                assert settled.status == ("error" if call_id == "tc_5" else "ok")
    else:
        raise AssertionError("the run never came to its end")
    assert moment > 10
    assert interrupted > 20


async def test_a_cancelled_tool_cleans_up_before_it_is_reported(runner: Runner) -> None:
    log: list[str] = []
    begun = asyncio.Event()

    async def tidy(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")
        return OK

    async def report(_call: ToolCallPart, settled: Settled) -> None:
        log.append(settled.status)

    tools = [make_tool("tidy", tidy)]
    task = asyncio.create_task(runner.run(tools, "tidy", grace_s=5.0, settled=report))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned up", "interrupted"]


@pytest.mark.parametrize("by", ["timeout", "cancellation"])
async def test_a_tool_that_finishes_in_spite_of_it_keeps_its_result(
    runner: Runner, by: str
) -> None:
    begun = asyncio.Event()

    async def finish(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ToolResult.of_text("paid")
        raise AssertionError("unreachable")

    timeout_s = 0.01 if by == "timeout" else 60.0
    tools = [make_tool("pay", finish)]
    task = asyncio.create_task(runner.run(tools, "pay", grace_s=5.0, timeout_s=timeout_s))
    await begun.wait()
    if by == "cancellation":
        task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() == (by == "cancellation")
    ((_, settled),) = runner.settled
    assert (settled.status, settled.result.text) == ("ok", "paid")


@pytest.mark.parametrize("by", ["timeout", "cancellation"])
async def test_a_tool_that_resists_is_given_up(
    runner: Runner, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()
    stubborn: set[asyncio.Task[Any] | None] = set()
    begun = asyncio.Event()

    async def resist(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        stubborn.add(asyncio.current_task())
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return OK

    timeout_s = 0.01 if by == "timeout" else 60.0
    tools = [make_tool("resist", resist)]
    late: asyncio.Queue[tuple[str, Settled]] = asyncio.Queue()

    async def hear(call: ToolCallPart, settled: Settled) -> None:
        late.put_nowait((call.id, settled))

    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(runner.run(tools, "resist", timeout_s=timeout_s, late=hear))
        await begun.wait()
        if by == "cancellation":
            task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait({task})
    ((_, settled),) = runner.settled
    assert settled.status == ("error" if by == "timeout" else "interrupted")
    assert "resist ignores its cancellation" in caplog.text
    assert late.empty()
    release.set()
    async with asyncio.timeout(5):
        name, came = await late.get()
    assert (name, came.status, came.result) == ("tc_0", "ok", OK)
    assert len(runner.settled) == 1


async def test_a_report_that_fails_stops_the_other_calls(runner: Runner) -> None:
    """A writer that lost its lease: its error comes out, and nothing goes on."""

    async def refuse(_call: ToolCallPart, _settled: Settled) -> None:
        raise PermissionError("lease lost")

    tools = [make_tool("quick", answer), make_tool("stuck", wait_for_ever)]
    with pytest.raises(PermissionError, match="lease lost"):
        await runner.run(tools, "quick", "stuck", settled=refuse)


async def test_a_thread_that_never_ends_is_stopped_with_its_call() -> None:
    started, ended = threading.Event(), threading.Event()

    def spin() -> None:
        started.set()
        try:
            while True:
                sum(range(100))
        finally:
            ended.set()

    task = asyncio.create_task(run_in_thread(spin, "spin"))
    assert await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)
