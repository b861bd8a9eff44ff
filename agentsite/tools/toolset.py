"""The tools of one run, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentsite.engine.ports import ToolSpec
from agentsite.manifest.bundle import Bundle
from agentsite.tools.activate_skill import ACTIVATE_SKILL, READ_SKILL_FILE
from agentsite.tools.ask_person import ASK_CHOICE, ASK_USER
from agentsite.tools.base import Tool
from agentsite.tools.custom import make_tool
from agentsite.tools.dispatch import build_dispatch_tools
from agentsite.tools.file_tools import build_file_tools
from agentsite.tools.load_knowledge import LOAD_KNOWLEDGE
from agentsite.tools.memory import MEMORY, is_offered
from agentsite.tools.plan_mode import build_plan_tools
from agentsite.tools.present import PRESENT
from agentsite.tools.propose_knowledge import PROPOSE_KNOWLEDGE
from agentsite.tools.read_tool_result import READ_TOOL_RESULT
from agentsite.tools.request import build_request
from agentsite.tools.search_sessions import SEARCH_SESSIONS
from agentsite.tools.shell_exec import build_shell_tools
from agentsite.tools.stop_execution import STOP_EXECUTION
from agentsite.tools.stores import build_store_tools
from agentsite.tools.web import build_web_tools


class DuplicateTool(ValueError):
    """Two tools of one agent have the same name."""


def build_toolset(
    bundle: Bundle, extra: Iterable[Tool] = (), *, admin: bool = False
) -> dict[str, Tool]:
    """Built-in tools that the agent has a use for, its own, and `extra` ones, sorted by name.

    `admin`: for a session of somebody with that role. Tools with `confirm: "never"` are not
    offered. Raises DuplicateTool.
    """
    tools = [PRESENT, STOP_EXECUTION, READ_TOOL_RESULT, ASK_USER, ASK_CHOICE]
    if bundle.knowledge:
        tools += [LOAD_KNOWLEDGE, PROPOSE_KNOWLEDGE]
    if bundle.skills:
        tools.append(ACTIVATE_SKILL)
    if any(skill.files for skill in bundle.skills):
        tools.append(READ_SKILL_FILE)
    memory = bundle.config.memory
    if is_offered(memory, admin=admin):
        tools.append(MEMORY)
    if memory is not None and memory.enabled and memory.session_search:
        tools.append(SEARCH_SESSIONS)
    tools += build_plan_tools(bundle)
    tools += build_dispatch_tools(bundle)
    tools += build_store_tools(bundle)
    tools += build_shell_tools(bundle)
    tools += build_file_tools(bundle)
    tools += build_request(bundle)
    tools += build_web_tools(bundle)
    tools += [make_tool(bundle, folder) for folder in bundle.tools]
    tools += extra
    toolset: dict[str, Tool] = {}
    for tool in sorted(tools, key=lambda tool: tool.name):
        if tool.name in toolset:
            raise DuplicateTool(
                f'Two tools are called "{tool.name}"; rename the one in the agent\'s tools folder.'
            )
        toolset[tool.name] = tool
    return {name: tool for name, tool in toolset.items() if tool.confirm != "never"}


def specs(toolset: Mapping[str, Tool]) -> tuple[ToolSpec, ...]:
    """What the model is told of the tools, always in the same order."""
    return tuple(toolset[name].spec for name in sorted(toolset) if toolset[name].alias_of is None)
