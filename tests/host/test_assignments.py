"""Whom an agent may dispatch, and what a sub-agent is given: from its file, and never more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.host.assignments import Assignment, assign
from agentsite.tools.base import ToolError
from agentsite.tools.dispatch import build_dispatch_tools
from tests.requirements import requirement
from tests.tools.agents import write_agent
from tests.tools.runs import answer, make_tool

TOOLS = {
    tool.name: tool
    for tool in (
        make_tool("read_tool_result", answer, read_only=True),
        make_tool("stop_execution", answer, read_only=True),
        make_tool("shell_exec", answer),
        make_tool("dispatch", answer, dispatch=True),
        make_tool("ask_user", answer, read_only=True),
    )
}
EXPLORE = """---
description: Looks into the warehouse.
tools: [read_tool_result, shell_exec, dispatch, web_search]
maxDepth: 2
maxToolCalls: 4
timeout: 12
targetOutputMin: 30
targetOutputMax: 90
modelTier: advanced
---
You know the warehouse.
"""


def settle(folder: Path, levels: int = 8, config: Any = None, **arguments: Any) -> Assignment:
    files = {"agents/explore/AGENT.md": EXPLORE} if config is None else {"amodal.json": config}
    return assign(write_agent(folder, files), TOOLS, levels, arguments)


@requirement("runs.dispatch-limits")
def test_a_file_overrides_a_built_in_sub_agent_with_all_its_keys(tmp_path: Path) -> None:
    given = settle(tmp_path, agent_name="explore", task="Count.", max_turns=3)
    assert given.system.startswith("You know the warehouse.")
    assert "about 30 to 90 tokens" in given.system
    assert (given.tier, given.timeout, given.max_tool_calls) == ("advanced", 12.0, 4)
    assert (given.tools, given.levels, given.max_turns) == (
        ("dispatch", "read_tool_result", "shell_exec"), 1, 3,
    )  # fmt: skip
    deep = settle(tmp_path, 1, agent_name="explore", task="Count.")
    assert (deep.tools, deep.levels, deep.max_turns) == (("read_tool_result", "shell_exec"), 0, 6)
    (tool, alias) = build_dispatch_tools(write_agent(tmp_path, {}))
    assert (tool.name, alias.name) == ("dispatch", "dispatch_task")
    assert "- explore: Looks into the warehouse." in tool.description
    assert tool.description.count("- explore") == 1


@requirement("runs.dispatch-limits")
def test_built_in_sub_agents_read_and_work_on_their_tiers(tmp_path: Path) -> None:
    config = {"name": "desk", "version": "1.0.0"}
    tiers = {}
    for name in ("explore", "plan", "task"):
        given = settle(tmp_path, config=config, agent_name=name, prompt="Do it.")
        tiers[name] = (given.tier, given.tools)
    assert tiers == {
        "explore": ("simple", ("read_tool_result",)),
        "plan": ("advanced", ("read_tool_result",)),
        "task": ("simple", ("read_tool_result", "shell_exec")),
    }


@requirement("runs.dispatch-limits")
def test_a_disabled_sub_agent_is_not_there(tmp_path: Path) -> None:
    config = {"name": "desk", "version": "1.0.0", "disabledSubagents": ["explore", "plan"]}
    with pytest.raises(ToolError, match=r'no sub-agent "explore"\. Sub-agents: task$'):
        settle(tmp_path, config=config, agent_name="explore", task="Look.")
    (tool, _) = build_dispatch_tools(write_agent(tmp_path, {"amodal.json": config}))
    assert "explore" not in tool.description
