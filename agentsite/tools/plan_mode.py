"""`enter_plan_mode` and `exit_plan_mode`: first a plan, then a person, then the work.

Law: what ends planning is a person's approval of the very plan that the call holds; the host asks
for it as for every call that must be confirmed.
"""

from __future__ import annotations

from typing import Any

from agentsite.engine.events import PlanModeChanged
from agentsite.engine.messages import TextPart
from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import Tool, ToolContext, ToolResult, clean, object_schema

ENTER, EXIT = "enter_plan_mode", "exit_plan_mode"


async def enter(context: ToolContext, _arguments: dict[str, Any]) -> ToolResult:
    context.emit(PlanModeChanged("enter"))
    told = f"Plan mode: nothing can be changed until a person has approved your plan ({EXIT})."
    return ToolResult(parts=(TextPart(told),), planning=True)


async def leave(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    plan = clean(arguments["plan"])
    context.emit(PlanModeChanged("approve", plan))
    context.emit(PlanModeChanged("exit"))
    told = "The plan was approved. Carry it out; do nothing that is not in it."
    return ToolResult(parts=(TextPart(told),), planning=False)


ENTER_PLAN_MODE = Tool(
    name=ENTER,
    description="Begin to plan: for work that changes much, or that the user wants to see first. "
    "Until a person has approved your plan, calls that change something are refused.",
    parameters=object_schema({}, ()),
    call=enter,
    inside=True,
    idempotent=True,
)
EXIT_PLAN_MODE = Tool(
    name=EXIT,
    description="Put your plan before a person. When it is approved you may carry it out; when it "
    "is not, change it and ask again.",
    parameters=object_schema(
        {"plan": {"type": "string", "minLength": 1, "description": "What you will do, in steps."}},
        ["plan"],
    ),
    call=leave,
    inside=True,
    confirm=True,
)


def build_plan_tools(bundle: Bundle) -> list[Tool]:
    """Both where the model may choose, the way out alone where every run begins with a plan."""
    match bundle.config.agent.plan_mode:
        case "offered":
            return [ENTER_PLAN_MODE, EXIT_PLAN_MODE]
        case "required":
            return [EXIT_PLAN_MODE]
        case None:
            return []


def plans_after(name: str, *, ok: bool) -> bool | None:
    """Whether a run plans after a call of this name; None: as before."""
    return {ENTER: True, EXIT: False}.get(name) if ok else None


def describe_planning(bundle: Bundle) -> str:
    """The section on planning; empty where no run has to."""
    if bundle.config.agent.plan_mode != "required":
        return ""
    return (
        "# Plan first\nYou begin in plan mode: look around and ask as you need, but calls that "
        f"change something are refused. Put your plan before a person with `{EXIT}`; when it is "
        "approved, carry it out. What changes nothing needs no plan."
    )
