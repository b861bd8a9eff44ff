"""`/api/memory`: a caller's own entries.

Law: the partition is the caller's scope and the agent that is named. Foreign and
unknown ids get the same 404; `editableBy` counts here as it does for the model.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from agentsite.engine.transcript import timestamp
from agentsite.host import memory_fields as fields
from agentsite.host.errors import Refusal
from agentsite.host.identity import Caller
from agentsite.host.rest import ApiView, encode_json, json_answer
from agentsite.host.site import site
from agentsite.manifest.blocks import Memory
from agentsite.manifest.reload import UnknownAgent
from agentsite.rows.units import unit
from agentsite.tools.base import clean
from agentsite.tools.memory import budget_of, is_offered
from memory_app import actions
from memory_app.actions import Partition, Source
from memory_app.models import MemoryEntry

WHOLE_ID = re.compile(r"[0-9a-f]{32}")


class MemoryList(ApiView):
    """`/api/memory`"""

    http_method_names = ["get", "post", "head"]
    scope_in_body = True
    of_one_agent = True

    @extend_schema(**fields.LIST)
    async def get(self, request: Request) -> HttpResponse:
        """All entries, oldest first, and how much room there is."""
        agent = self.read_query(fields.MemoryQuery).get("agentId")
        return json_answer(await unit(_list, agent, self.scope_id))

    @extend_schema(**fields.ADD)
    async def post(self, request: Request) -> HttpResponse:
        """Keep an entry; one that says the same as another is merged into it."""
        body = self.read_body(fields.NewMemory)
        agent = body.get("agentId") or self.read_query(fields.MemoryQuery).get("agentId")
        kept = await unit(_add, agent, self.caller, body)
        status = 200 if kept["merged"] else 201
        return HttpResponse(encode_json(kept), status=status, content_type="application/json")


class MemoryDetail(ApiView):
    """`/api/memory/{id}`"""

    http_method_names = ["delete"]
    of_one_agent = True

    @extend_schema(**fields.REMOVE)
    async def delete(self, request: Request, entry_id: str) -> HttpResponse:
        """Remove an entry for good."""
        agent = self.read_query(fields.MemoryQuery).get("agentId")
        await unit(_remove, agent, self.caller, entry_id)
        return HttpResponse(status=204)


def _list(agent: str | None, scope_id: str) -> bytes:
    partition, block = _find(agent, scope_id)
    entries = actions.list_entries(partition)
    return encode_json(
        {
            "entries": list(map(entry_to_api, entries)),
            "totalEntries": len(entries),
            "totalChars": sum(len(entry.content) for entry in entries),
            "maxEntries": block.max_entries,
            "maxTotalChars": block.max_total_chars,
        }
    )


def _add(agent: str | None, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    content = clean(body.get("content", "")).strip()
    if not content:
        raise ValidationError({"content": ["It must not be empty."]})
    partition, block = _find_to_change(agent, caller)
    try:
        added = actions.add_entry(
            partition, content, budget_of(block), Source(), clean(body.get("category", ""))
        )
    except actions.BudgetExceeded as refusal:
        raise Refusal(409, "budget_exceeded", str(refusal), refusal.facts) from refusal
    shown = entry_to_api(added.entry)
    return {"added": shown, "merged": added.merged, "totalEntries": len(added.entries)}


def _remove(agent: str | None, caller: Caller, entry_id: str) -> None:
    partition, _ = _find_to_change(agent, caller)
    missing = Refusal(404, "memory_entry_not_found", "There is no such memory entry.")
    if not WHOLE_ID.fullmatch(entry_id):
        raise missing
    try:
        actions.remove_entry(partition, entry_id)
    except actions.EntryNotFound as error:
        raise missing from error


def _find_to_change(agent_id: str | None, caller: Caller) -> tuple[Partition, Memory]:
    """The same for whoever may change it. Raises `Refusal`."""
    partition, block = _find(agent_id, caller.scope_id)
    if not is_offered(block, admin=caller.identity.has_role("admin")):
        text = "This agent's memory cannot be changed by callers (`memory.editableBy`)."
        if block.editable_by == "admin":
            text = "Only callers with the role admin may change this agent's memory."
        raise Refusal(403, "memory_not_editable", text)
    return partition, block


def _find(agent_id: str | None, scope_id: str) -> tuple[Partition, Memory]:
    """The caller's partition of an agent that keeps memory. Raises `Refusal`."""
    try:
        agent = site().agents.current(agent_id)
    except UnknownAgent as error:
        raise Refusal(404, "agent_not_found", f'There is no agent "{agent_id}".') from error
    block = agent.bundle.config.memory
    if block is None or not block.enabled:
        raise Refusal(404, "memory_disabled", "This agent keeps no memory.")
    return Partition(agent.id, scope_id), block


def entry_to_api(entry: MemoryEntry) -> dict[str, Any]:
    recalled = entry.last_recalled_at
    return {
        "id": entry.pk,
        "content": entry.content,
        "category": entry.category,
        "created_at": _tell(entry.created_at),
        "last_recalled_at": recalled and _tell(recalled),
        "source": {"session_id": entry.source_session, "run_id": entry.source_run},
    }


def _tell(moment: dt.datetime) -> str:
    return timestamp(int(moment.timestamp() * 1000))
