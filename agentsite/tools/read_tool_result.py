"""`read_tool_result`: the stored whole of a result that was cut or cleared."""

from __future__ import annotations

from typing import Any

from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema

DEFAULT_CHARS = 15_000
MAX_CHARS = 19_000
"""Below the length at which a result is cut, heading included."""


async def read_stored(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    call_id, offset = arguments["call_id"], arguments.get("offset", 0)
    limit = arguments.get("limit", DEFAULT_CHARS)
    piece = await context.read_result(call_id, offset, limit)
    if piece is None:
        raise ToolError(f'This conversation has no stored result of a call "{call_id}".')
    if not piece.text:
        raise ToolError(f"The result has {piece.total} characters; offset {offset} is behind them.")
    end = offset + len(piece.text)
    return ToolResult.of_text(f"[characters {offset} to {end} of {piece.total}]\n{piece.text}")


READ_TOOL_RESULT = Tool(
    name="read_tool_result",
    description="Read a stretch of an earlier tool result that was shortened or cleared.",
    parameters=object_schema(
        {
            "call_id": {"type": "string", "description": "Id of the call, as the note gives it."},
            "offset": {"type": "integer", "minimum": 0, "description": "First character; 0."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_CHARS,
                "description": f"Characters; {DEFAULT_CHARS} if not given.",
            },
        },
        ["call_id"],
    ),
    call=read_stored,
    read_only=True,
    idempotent=True,
)
