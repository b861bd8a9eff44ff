"""Small tools, and a runner that keeps how each call ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agentsite.engine.messages import TextPart, ToolCallPart
from agentsite.tools.base import Tool, ToolContext, ToolResult
from agentsite.tools.executor import Settled, run_calls
from tests.tools.agents import Calls

Body = Callable[[ToolContext, dict[str, Any]], Awaitable[ToolResult]]
ANY = {"type": "object"}
OK = ToolResult(parts=(TextPart("ok"),))


def make_tool(name: str, body: Body, **options: Any) -> Tool:
    return Tool(name, name, options.pop("parameters", ANY), body, **options)


class Runner:
    """Runs calls and keeps how each ended."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.settled: list[tuple[str, Settled]] = []

    async def report(self, call: ToolCallPart, settled: Settled) -> None:
        await asyncio.sleep(0)  # a cancellation may arrive while a result is written
        self.settled.append((call.id, settled))

    async def run(self, tools: list[Tool], *names: str, **options: Any) -> list[Settled]:
        """Call the tools of these names; results in call order."""
        parts = [ToolCallPart(f"tc_{n}", name, {}) for n, name in enumerate(names)]
        await self.run_parts(tools, parts, **options)
        by_id = dict(self.settled)
        assert len(by_id) == len(self.settled)
        return [by_id[part.id] for part in parts]

    async def run_parts(self, tools: list[Tool], parts: list[ToolCallPart], **options: Any) -> None:
        defaults = {"concurrency": 8, "timeout_s": 5.0, "grace_s": 0.01, "settled": self.report}
        await run_calls(
            parts,
            {tool.name: tool for tool in tools},
            lambda call, deadline: self.calls.context(call.name, call.id, deadline),
            **{**defaults, **options},
        )


async def answer(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
    return OK


async def wait_for_ever(_context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
