"""Tools of an agent's stores: one to write to each, one to query, delete and history for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.stores import StoreSpec
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema
from agentsite.tools.similarity import find_similar
from agentsite.tools.store_access import (
    ask,
    ask_async,
    delete_document,
    open_store,
    put_document,
    put_documents,
)
from agentsite.tools.store_schema import IF_VERSION, document_schema
from stores_app.batches import MAX_BATCH
from stores_app.listing import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, list_documents, read_query
from stores_app.models import KEY_CHARS
from stores_app.reading import document_to_api, get, read_history, version_to_api
from stores_app.vectors import MAX_TEXT

VERSION = {
    "type": "integer",
    "minimum": 0,
    "description": "Only if this is the newest version (0: only if there is none yet).",
}
KEY = {"type": "string", "maxLength": KEY_CHARS}
FILTER = (
    "All must hold. Values by dotted path: equal, or operators $in, $gt, $gte, $lt, $lte, "
    '$contains (item of a list, part of a string), $exists. {"total": {"$gte": 10}}'
)


class StoreTool(Tool):
    """A tool whose arguments are a document: the store's own validation checks it, no other."""

    def find_problem(self, arguments: dict[str, Any]) -> str | None:
        """Nothing is wrong before the store has looked."""
        return None


def build_store_tools(bundle: Bundle) -> list[Tool]:
    """Every tool of the agent's stores; none without stores."""
    if not bundle.stores:
        return []
    names = [spec.name for spec in bundle.stores]
    tools = [tool for spec in bundle.stores for tool in (_make_put(spec), _make_batch(spec))]
    return [*tools, _make_query(bundle.stores), _make_delete(names), _make_history(names)]


def _make_put(spec: StoreSpec) -> Tool:
    takes_version = IF_VERSION not in spec.entity.fields

    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        payload = dict(arguments)
        if_version = payload.pop(IF_VERSION, None) if takes_version else None
        _check_version(if_version)
        place = open_store(context, spec.name)
        return ToolResult.ok(await put_document(context, place, payload, if_version))

    schema = document_schema(spec)
    if takes_version:
        schema["properties"][IF_VERSION] = VERSION
    about = f": {spec.description.rstrip('.')}" if spec.description else ""
    return StoreTool(
        name=spec.tool_names[0],
        description=f"Store one {spec.entity.name} in {spec.name}{about}. "
        f"It replaces the one with the same key ({spec.entity.key}).",
        parameters=schema,
        call=call,
        idempotent=True,
        inside=True,
        running_label=f"Storing in {spec.name}",
        completed_label=f"Stored in {spec.name}",
    )


def _check_version(given: Any) -> None:
    whole = isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**31
    if given is not None and not whole:
        raise ToolError(f'"{IF_VERSION}" must be a whole number')


def _make_batch(spec: StoreSpec) -> Tool:
    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        items = arguments.get("items")
        if set(arguments) != {"items"} or not isinstance(items, list):
            raise ToolError('Give the documents as a list: {"items": […]}')
        if not 1 <= len(items) <= MAX_BATCH:
            raise ToolError(f'"items" takes 1 to {MAX_BATCH} documents')
        place = open_store(context, spec.name)
        return ToolResult.ok(await put_documents(context, place, items))

    items = {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_BATCH,
        "items": document_schema(spec),
    }
    modes = {
        "partial": "Those that fit are stored, the others are reported.",
        "all-or-nothing": "If one does not fit, none is stored.",
        "skip": "Those that do not fit are left out.",
    }
    return StoreTool(
        name=spec.tool_names[1],
        description=f"Store several documents in {spec.name}. {modes[spec.failure.mode]}",
        parameters=object_schema({"items": items}, ["items"]),
        call=call,
        idempotent=True,
        inside=True,
        running_label=f"Storing in {spec.name}",
        completed_label=f"Stored in {spec.name}",
    )


async def query_store(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    """One document by its key, or a list."""
    place = open_store(context, arguments["store"])
    key = arguments.get("key")
    if key is not None:
        row = await ask(lambda: get(place, key))
        if row is None:
            return ToolResult.ok({"found": False, "key": key})
        return ToolResult.ok({"found": True, **document_to_api(place, row, trace=False)})
    question = {name: value for name, value in arguments.items() if name != "store"}
    if "similar" in question:
        embedding = context.bundle.config.models.embedding
        near = find_similar(place, embedding, question, context.pay, trace=False)
        return ToolResult.ok(await ask_async(near))
    page = await ask(lambda: list_documents(place, read_query(place, **question)))
    result: dict[str, Any] = {
        "documents": [document_to_api(place, row, trace=False) for row in page.documents],
        "total": page.total,
        "hasMore": page.cursor is not None,
    }
    if not page.total_exact:
        result["totalExact"] = False
    if page.cursor is not None:
        result["cursor"] = page.cursor
    if page.notes:
        result["notes"] = page.notes
    return ToolResult.ok(result)


def _make_query(specs: Sequence[StoreSpec]) -> Tool:
    names = [spec.name for spec in specs]
    properties = {
        "store": {"type": "string", "enum": names},
        "key": {**KEY, "description": "Read this one document; without it, list."},
        "filter": {"type": "object", "description": FILTER},
        "sort": {
            "type": "string",
            "description": "A path, with - before it from the largest; $updatedAt, $key. "
            "The newest first if not given.",
        },
        "search": {"type": "string", "description": "Words that the text fields must have."},
        **_offer_similarity(specs),
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "description": f"{DEFAULT_LIMIT} if not given.",
        },
        "offset": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET},
        "cursor": {"type": "string", "description": "Of the page before, to go on."},
    }
    return Tool(
        name="query_store",
        description="Read a document of a store by its key, or list documents by filter.",
        parameters=object_schema(properties, ["store"]),
        call=query_store,
        read_only=True,
        idempotent=True,
        running_label="Querying {{store}}",
        completed_label="Queried {{store}}",
    )


def _offer_similarity(specs: Sequence[StoreSpec]) -> dict[str, Any]:
    names = ", ".join(spec.name for spec in specs if spec.embed)
    if not names:
        return {}
    text = f"A text: the documents nearest to it in meaning, with a filter if given. In {names}."
    return {"similar": {"type": "string", "maxLength": MAX_TEXT, "description": text}}


async def delete_from_store(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    """Delete one document."""
    place = open_store(context, arguments["store"])
    if_version = arguments.get(IF_VERSION)
    return ToolResult.ok(await delete_document(context, place, arguments["key"], if_version))


def _make_delete(names: list[str]) -> Tool:
    store = {"type": "string", "enum": names}
    return Tool(
        name="delete_from_store",
        description="Delete a document of a store by its key.",
        parameters=object_schema(
            {"store": store, "key": KEY, IF_VERSION: VERSION}, ["store", "key"]
        ),
        call=delete_from_store,
        idempotent=True,
        inside=True,
        running_label="Deleting {{key}} from {{store}}",
        completed_label="Deleted {{key}} from {{store}}",
    )


async def query_store_history(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    """A document's versions, newest first."""
    place = open_store(context, arguments["store"])
    limit = arguments.get("limit", DEFAULT_LIMIT)
    newest, older = await ask(lambda: read_history(place, arguments["key"], limit))
    return ToolResult.ok(
        {
            "key": arguments["key"],
            "found": newest is not None,
            "current": newest and document_to_api(place, newest),
            "history": [version_to_api(place, row) for row in older],
        }
    )


def _make_history(names: list[str]) -> Tool:
    limit = {"type": "integer", "minimum": 1, "maximum": 100}
    properties = {"store": {"type": "string", "enum": names}, "key": KEY, "limit": limit}
    return Tool(
        name="query_store_history",
        description="Read the earlier versions of a document, as far as its store keeps them.",
        parameters=object_schema(properties, ["store", "key"]),
        call=query_store_history,
        read_only=True,
        idempotent=True,
        running_label="Reading the history of {{key}}",
        completed_label="Read the history of {{key}}",
    )
