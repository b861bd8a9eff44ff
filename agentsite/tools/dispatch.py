"""`dispatch`: another agent with a context of its own does a piece of the work.

Law: these calls never run. The host drives the sub-agent beside the run's other calls, and its
last word is the call's result. Both documented forms of parameters are read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentsite.manifest.agents import AgentSpec
from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema

NAME, ALIAS = "dispatch", "dispatch_task"


async def refuse_to_run(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    raise ToolError("A sub-agent is driven by the host; it does not run as a tool.")


def build_dispatch_tools(bundle: Bundle) -> list[Tool]:
    """The tool and its second name; nothing when every sub-agent is disabled."""
    agents = bundle.subagents
    if not agents:
        return []
    listed = "\n".join(map(_list_agent, agents))
    tool = Tool(
        name=NAME,
        description="Let a sub-agent do a piece of work with a context of its own, and get its "
        "report. It sees nothing of this conversation: the task must say all it needs. Dispatch "
        "independent pieces together; they are worked on at the same time. Good for gathering "
        f"data in many steps of which only the outcome matters.\nSub-agents:\n{listed}",
        parameters=_describe_parameters(agents),
        call=refuse_to_run,
        dispatch=True,
        other_names=(ALIAS,),
    )
    return [tool, replace(tool, name=ALIAS, alias_of=NAME, other_names=(NAME,))]


def _list_agent(agent: AgentSpec) -> str:
    return f"- {agent.name}: {agent.meta.description or agent.display_name}"


def _describe_parameters(agents: tuple[AgentSpec, ...]) -> dict[str, Any]:
    names = ", ".join(agent.name for agent in agents)
    text = {"type": "string", "minLength": 1}
    return object_schema(
        {
            "task": {**text, "description": "What to do and what to report, with all it needs."},
            "prompt": {**text, "description": "The same as task; give one of the two."},
            "agent_name": {
                **text,
                "description": f"Who does it: {names}; or a name of your own together with tools.",
            },
            "tools": {
                "type": "array",
                "items": text,
                "description": "Names of the tools it may use; all that it can have when absent.",
            },
            "max_turns": {
                "type": "integer",
                "minimum": 1,
                "description": "How often it may think before it must answer.",
            },
        },
        (),
    )
