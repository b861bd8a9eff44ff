"""`memory`: keeps, removes, lists and finds facts that outlive the session.

Law: the partition comes from the run; no argument can name another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from agentsite.manifest.blocks import Memory
from agentsite.rows.units import unit
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, clean, object_schema
from memory_app import actions
from memory_app.actions import Budget, Partition, Source
from memory_app.models import MemoryEntry

MAX_CATEGORY = 100


def is_offered(block: Memory | None, *, admin: bool = False) -> bool:
    """Whether a session may change memory; chat sessions are not `admin` ones."""
    if block is None or not block.enabled:
        return False
    return block.editable_by == "any" or (block.editable_by == "admin" and admin)


def budget_of(block: Memory) -> Budget:
    return Budget(block.max_entries, block.max_total_chars)


async def use_memory(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    """One of the four actions; results in the reference's shapes."""
    partition = Partition(context.agent, context.scope_id)
    action: str = arguments["action"]
    match action:
        case "add":
            return ToolResult.ok(await _add(context, partition, arguments))
        case "remove":
            return ToolResult.ok(await _remove(partition, _need(arguments, "entry_id", action)))
        case "list":
            entries = await unit(actions.list_entries, partition)
            return ToolResult.ok(list_to_api(entries))
        case "search":
            query = _need(arguments, "query", action)
            found = await unit(actions.search_entries, partition, query)
            return ToolResult.ok({"query": query, **list_to_api(found)})
        case _:
            raise ToolError(f'"{action}" is no action of this tool.')


async def _add(
    context: ToolContext, partition: Partition, arguments: dict[str, Any]
) -> dict[str, Any]:
    content = clean(_need(arguments, "content", "add"))
    block = context.bundle.config.memory
    if block is None:
        raise ToolError("Memory is switched off for this agent.")
    category = clean(str(arguments.get("category") or ""))[:MAX_CATEGORY]
    source = Source(context.session_id, context.run_id)
    try:
        added = await unit(
            actions.add_entry, partition, content, budget_of(block), source, category
        )
    except actions.BudgetExceeded as refusal:
        return {"error": "budget_exceeded", "message": str(refusal), **refusal.facts}
    merged = {"merged": True} if added.merged else {}
    shown = {"id": added.entry.short_id, "content": added.entry.content}
    return {"added": shown, **merged, **list_to_api(added.entries)}


async def _remove(partition: Partition, given: str) -> dict[str, Any]:
    try:
        gone, left = await unit(actions.remove_entry, partition, given)
    except actions.NotAnId as error:
        least = actions.SHORTEST_PREFIX
        text = f"entry_id must be an id, or its first {least} or more hexadecimal digits."
        raise ToolError(text) from error
    except actions.EntryNotFound as error:
        raise ToolError("There is no entry with this id. `list` shows them.") from error
    except actions.AmbiguousId as error:
        meant = ", ".join(error.ids)
        raise ToolError(f"Several entries begin like this; name one of: {meant}") from error
    return {"removed": {"id": gone.short_id, "content": gone.content}, **list_to_api(left)}


def list_to_api(entries: Iterable[MemoryEntry]) -> dict[str, Any]:
    """Entries as the model sees them: numbered, with the first eight digits of their ids."""
    listed = [
        {"index": index, "id": entry.short_id, "content": entry.content}
        for index, entry in enumerate(entries, start=1)
    ]
    return {"entries": listed, "totalEntries": len(listed)}


def _need(arguments: dict[str, Any], name: str, action: str) -> str:
    value = cast("str", arguments.get(name) or "").strip()
    if not value:
        raise ToolError(f'"{action}" needs "{name}".')
    return value


MEMORY = Tool(
    name="memory",
    description=(
        "Notes that outlive this conversation. `add` keeps one short fact, `remove` deletes an "
        "entry by its id, `list` shows all, `search` finds entries by words."
    ),
    parameters=object_schema(
        {
            "action": {"type": "string", "enum": ["add", "remove", "list", "search"]},
            "content": {"type": "string", "description": "For add: one self-contained fact."},
            "category": {"type": "string", "description": "For add: a word to group by."},
            "entry_id": {"type": "string", "description": "For remove: the id, as shown."},
            "query": {"type": "string", "description": "For search: words."},
        },
        ["action"],
    ),
    call=use_memory,
    # Adding a text that is there changes nothing, and an id never comes back.
    idempotent=True,
    inside=True,
    running_label="Looking after memory",
    completed_label="Looked after memory",
)
