"""Agents on disk and contexts of calls, for tests of tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from agentsite.engine.deltas import Usage
from agentsite.engine.events import AnyEvent
from agentsite.engine.ports import ModelName, Purpose
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.loader import load
from agentsite.tools.base import Make, StoredSlice, Tool, ToolContext, ToolResult

Value = TypeVar("Value")


def write_agent(root: Path, files: dict[str, Any], env: dict[str, str] | None = None) -> Bundle:
    """Write files (dicts become JSON) below `root`, and load the agent."""
    config = {"name": "desk", "version": "1.0.0"}
    for name, content in {"amodal.json": config, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load(root, env or {})


class Calls:
    """Makes contexts and keeps what is sent through them."""

    def __init__(self, bundle: Bundle, stored: dict[str, str] | None = None) -> None:
        self.bundle = bundle
        self.stored = stored or {}
        self.events: list[AnyEvent] = []
        self.paid: list[tuple[Purpose, ModelName, Usage]] = []

    def context(
        self, name: str = "tool", call_id: str = "tc_1", deadline: float = 0
    ) -> ToolContext:
        return ToolContext(
            agent="desk",
            scope_id="acme",
            session_id="s_1",
            run_id="r_1",
            call_id=call_id,
            tool_name=name,
            user={"role": "rep"},
            deadline=deadline,
            bundle=self.bundle,
            send=self.events.append,
            read_result=self.read_result,
            pay=self.pay,
        )

    async def pay(self, purpose: Purpose, model: ModelName, text: str, make: Make[Value]) -> Value:
        value, usage = await make(None)
        self.paid.append((purpose, model, usage))
        return value

    async def read_result(self, call_id: str, offset: int, limit: int) -> StoredSlice | None:
        text = self.stored.get(call_id)
        return None if text is None else StoredSlice(text[offset : offset + limit], len(text))

    async def call(self, tool: Tool, **arguments: Any) -> ToolResult:
        """Call a tool directly, after its arguments were found to fit."""
        assert tool.find_problem(arguments) is None
        return await tool.call(self.context(tool.name), arguments)
