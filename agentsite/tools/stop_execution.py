"""`stop_execution`: the model ends its own run."""

from __future__ import annotations

from typing import Any

from agentsite.engine.messages import TextPart
from agentsite.tools.base import Tool, ToolContext, ToolResult, clean, object_schema


async def stop_run(_context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    reason = clean(arguments["reason"])
    return ToolResult(parts=(TextPart(f"The run stops: {reason}"),), stop=reason)


STOP_EXECUTION = Tool(
    name="stop_execution",
    description="End this run at once, without a further answer. Say what the user must know "
    "before you call it. Only for when going on is pointless or unsafe.",
    parameters=object_schema(
        {"reason": {"type": "string", "description": "Why, in one sentence."}}, ["reason"]
    ),
    call=stop_run,
    read_only=True,
)
