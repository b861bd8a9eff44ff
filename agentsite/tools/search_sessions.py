"""`search_sessions`: finds what was said in earlier conversations of the same partition."""

from __future__ import annotations

from typing import Any

from agentsite.rows.units import unit
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, clean, object_schema
from sessions_app.searching import FoundSession, search_sessions

MAX_RESULTS = 20
DEFAULT_RESULTS = 5


async def search_past(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    """Sessions with the best passage of each, best first."""
    query = clean(arguments["query"]).strip()
    if not query:
        raise ToolError('"query" needs words to look for.')
    limit = arguments.get("max_results", DEFAULT_RESULTS)
    found = await unit(
        search_sessions, context.agent, context.scope_id, context.session_id, query, limit
    )
    return ToolResult.ok({"results": list(map(_to_api, found)), "totalResults": len(found)})


def _to_api(found: FoundSession) -> dict[str, Any]:
    return {
        "session_id": found.session_id,
        "title": found.title,
        "date": f"{found.said_at:%Y-%m-%d}",
        "role": found.role,
        "snippet": found.snippet,
    }


SEARCH_SESSIONS = Tool(
    name="search_sessions",
    description=(
        "Search earlier conversations with this user by words. Use it when the user refers to "
        "something that was said before and is in neither this conversation nor memory."
    ),
    parameters=object_schema(
        {
            "query": {
                "type": "string",
                "maxLength": 500,
                "description": "Words that were said; few and telling ones.",
            },
            "max_results": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_RESULTS,
                "description": f"Conversations to return; {DEFAULT_RESULTS} if not given.",
            },
        },
        ["query"],
    ),
    call=search_past,
    read_only=True,
    idempotent=True,
    running_label="Searching earlier conversations",
    completed_label="Searched earlier conversations",
)
