"""An agent's stores as resources: `store://orders`, `store://orders?sort=-total`, `store://orders/7`.

Law: the documents, checks and words of `/api/stores`; the scope is the caller's.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import mcp_types as types

from agentsite.host import store_fields as fields
from agentsite.host.agents import Agent
from agentsite.host.errors import Refusal, unknown_field
from agentsite.host.identity import Caller
from agentsite.host.rest import check_fields
from agentsite.host.store_views import document_as_json, list_as_json

ADDRESS = re.compile(r"store://(?P<store>[^/?#]+)(?:/(?P<key>[^?#]+))?(?:\?(?P<query>[^#]*))?")
JSON = "application/json"
TEMPLATES = [
    types.ResourceTemplate(
        name="document",
        uri_template="store://{store}/{key}",
        description="A document and its superseded versions.",
        mime_type=JSON,
    ),
    types.ResourceTemplate(
        name="documents",
        uri_template="store://{store}{?filter,sort,search,similar,limit,offset,cursor}",
        description="Documents by filter, in an order, page by page; the parameters are those of "
        "GET /api/stores/{store}.",
        mime_type=JSON,
    ),
]


def list_stores(agent: Agent) -> list[types.Resource]:
    """Each store as a resource: its newest documents."""
    return [
        types.Resource(
            name=spec.name,
            uri=f"store://{quote(spec.name, safe='')}",
            description=spec.description or f"Documents of the store {spec.name}, newest first.",
            mime_type=JSON,
        )
        for spec in sorted(agent.bundle.stores, key=lambda spec: spec.name)
    ]


async def read(agent: Agent, caller: Caller, uri: str) -> str:
    """JSON of the documents that an address names. Raises `Refusal`, or DRF's `ValidationError`."""
    parts = ADDRESS.fullmatch(uri)
    if parts is None:
        text = "The address is store://{store}, store://{store}/{key} or store://{store}?{query}."
        raise Refusal(404, "resource_not_found", text)
    store = unquote(parts["store"])
    if parts["key"] is not None:
        if parts["query"] is not None:
            raise Refusal(400, "invalid_query", "The address of a document has no query.")
        key = unquote(parts["key"])
        return (await document_as_json(agent.id, caller.scope_id, store, key)).decode()
    query = _read_query(parts["query"] or "")
    return (await list_as_json(agent.id, caller, store, query)).decode()


def _read_query(text: str) -> dict[str, Any]:
    given = dict(parse_qsl(text))
    known = fields.ListQuery().fields.keys() - {"agentId"}
    for name in given:
        if name not in known:
            raise unknown_field(name, known)
    query = check_fields(fields.ListQuery(data=given))
    if "similar" in query:
        query["limit"] = given.get("limit")
    return query
