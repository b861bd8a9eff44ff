"""The executor: each call ends in exactly one result, whatever tools do."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agentsite.connections.caller import READ_ONLY
from agentsite.engine.messages import ToolCallPart
from agentsite.tools.base import ToolContext, ToolError, ToolResult, object_schema
from agentsite.tools.executor import Settled
from agentsite.tools.results import STORED_CHARS
from tests.requirements import requirement
from tests.tools.runs import OK, Runner, answer, make_tool, wait_for_ever


async def test_two_calls_that_wait_for_each_other_both_finish(runner: Runner) -> None:
    barrier = asyncio.Barrier(2)

    async def meet(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        await barrier.wait()
        return OK

    settled = await runner.run([make_tool("meet", meet)], "meet", "meet")
    assert [one.status for one in settled] == ["ok", "ok"]


@pytest.mark.parametrize("limit", [1, 3, 8])
async def test_no_more_calls_run_at_once_than_allowed(runner: Runner, limit: int) -> None:
    running, most = 0, 0

    async def count(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return OK

    await runner.run([make_tool("count", count)], *["count"] * 12, concurrency=limit)
    assert most == limit


async def test_an_exclusive_call_runs_alone_and_in_its_place(runner: Runner) -> None:
    log: list[str] = []

    async def note(context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        log.append(f"+{context.call_id}")
        for _ in range(5):
            await asyncio.sleep(0)
        log.append(f"-{context.call_id}")
        return OK

    tools = [make_tool("read", note), make_tool("write", note, exclusive=True)]
    await runner.run(tools, "read", "read", "write", "write", "read", "read")
    assert log[4:8] == ["+tc_2", "-tc_2", "+tc_3", "-tc_3"]
    assert set(log[:2]) == {"+tc_0", "+tc_1"}
    assert set(log[8:10]) == {"+tc_4", "+tc_5"}


async def test_a_result_is_reported_as_soon_as_it_is_there(runner: Runner) -> None:
    first_reported = asyncio.Event()

    async def slow(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        await first_reported.wait()
        return OK

    async def report(call: ToolCallPart, settled: Settled) -> None:
        await runner.report(call, settled)
        first_reported.set()

    tools = [make_tool("slow", slow), make_tool("fast", answer)]
    await runner.run(tools, "slow", "fast", settled=report)
    assert [call_id for call_id, _ in runner.settled] == ["tc_1", "tc_0"]


async def test_what_cannot_run_is_told_to_the_model(runner: Runner) -> None:
    schema = object_schema({"city": {"type": "string"}, "days": {"type": "integer"}}, ["city"])
    tools = [make_tool("weather", answer, parameters=schema), make_tool("clock", answer)]
    parts = [
        ToolCallPart("tc_0", "guess", {}),
        ToolCallPart("tc_1", "weather", {}, invalid='{"city":'),
        ToolCallPart("tc_2", "weather", {"city": "Rome", "days": "two"}),
        ToolCallPart("tc_3", "weather", {"town": "Rome"}),
    ]
    await runner.run_parts(tools, parts)
    texts = {call_id: settled.result.text for call_id, settled in runner.settled}
    assert {settled.status for _, settled in runner.settled} == {"error"}
    assert texts["tc_0"] == 'Tool "guess" not found. Available tools: clock, weather'
    assert texts["tc_1"].startswith("Invalid parameters: ")
    assert '{"city":' in texts["tc_1"]
    assert texts["tc_2"] == "Invalid parameters: days: 'two' is not of type 'integer'"
    assert "'city' is a required property" in texts["tc_3"]
    assert "'town' was unexpected" in texts["tc_3"]


async def test_a_schema_that_cannot_be_used_is_no_crash(runner: Runner) -> None:
    """Also: a schema cannot make the server fetch an address."""
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    (settled,) = await runner.run([make_tool("t", answer, parameters=schema)], "t")
    assert settled.status == "error"


@pytest.mark.parametrize("own", [True, False], ids=["of the tool", "of the agent"])
async def test_a_call_that_takes_too_long_is_an_error(runner: Runner, own: bool) -> None:
    tool = make_tool("stuck", wait_for_ever, timeout_s=0.01 if own else None)
    (settled,) = await runner.run([tool], "stuck", timeout_s=60 if own else 0.01)
    assert settled.status == "error"
    assert settled.result.text == 'Tool "stuck" did not finish within 0.01 s.'
    assert settled.duration_ms >= 9


async def test_an_unexpected_failure_is_logged_and_told_without_its_words(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        raise RuntimeError("password hunter2")

    async def leave(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        raise SystemExit("hunter2")

    async def break_off(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        raise asyncio.CancelledError("hunter2")

    tools = [make_tool("a", fail), make_tool("b", leave), make_tool("c", break_off),
             make_tool("d", answer)]  # fmt: skip
    with caplog.at_level(logging.ERROR):
        settled = await runner.run(tools, "a", "b", "c", "d")
    assert [one.status for one in settled] == ["error", "error", "error", "ok"]
    assert not any("hunter2" in one.result.text for one in settled)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


async def test_an_expected_failure_is_told_in_its_own_words(runner: Runner) -> None:
    async def fail(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        raise ToolError("No such order.")

    (settled,) = await runner.run([make_tool("t", fail)], "t")
    assert (settled.status, settled.result.text) == ("error", "No such order.")


@pytest.mark.parametrize(
    ("idempotent", "transient", "tries"), [(True, True, 3), (True, False, 1), (False, True, 1)]
)
async def test_only_transient_failures_of_idempotent_tools_are_tried_again(
    runner: Runner, idempotent: bool, transient: bool, tries: int
) -> None:
    seen = []

    async def fail(context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        seen.append(context.call_id)
        if len(seen) % 2:
            return ToolResult.fail("busy", transient=transient)
        raise ToolError("busy", transient=transient)

    tool = make_tool("t", fail, idempotent=idempotent)
    (settled,) = await runner.run([tool], "t", backoff_s=(0.0, 0.0))
    assert settled.status == "error"
    assert seen == ["tc_0"] * tries


async def test_a_retry_that_succeeds_is_a_success(runner: Runner) -> None:
    results = iter([ToolResult.fail("busy", transient=True), OK])

    async def recover(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        return next(results)

    tool = make_tool("t", recover, idempotent=True)
    (settled,) = await runner.run([tool], "t", backoff_s=(0.0, 0.0))
    assert settled.status == "ok"


async def test_a_huge_result_is_cut_for_storage(runner: Runner) -> None:
    async def shout(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        return ToolResult.of_text("x" * (STORED_CHARS + 5))

    (settled,) = await runner.run([make_tool("t", shout)], "t")
    assert len(settled.result.text) < STORED_CHARS + 100
    assert settled.result.text.endswith("[... 5 more characters were not kept]")


async def test_what_a_settled_call_sends_is_dropped(runner: Runner) -> None:
    contexts: list[ToolContext] = []

    async def keep(context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        contexts.append(context)
        context.log("in time")
        return OK

    await runner.run([make_tool("t", keep)], "t")
    contexts[0].log("late")
    assert [getattr(event, "message", "") for event in runner.calls.events] == ["in time"]


@requirement("automations.read-only")
async def test_read_only_refuses_what_does_not_say_that_it_is_harmless(runner: Runner) -> None:
    made: list[str] = []

    async def note(context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
        made.append(context.tool_name)
        return OK

    kinds: dict[str, dict[str, Any]] = {
        "silent": {},
        "twice": {"idempotent": True},
        "reads_some": {"reads": lambda arguments: "read" in arguments},
        "reader": {"read_only": True},
        "keeper": {"inside": True},
    }
    tools = [make_tool(name, note, **flags) for name, flags in kinds.items()]
    settled = await runner.run(tools, *kinds, frozen=READ_ONLY)
    assert sorted(made) == ["keeper", "reader"]
    assert [one.result.text for one in settled[:3]] == [READ_ONLY] * 3
    assert [one.denied for one in settled] == [True, True, True, False, False]
