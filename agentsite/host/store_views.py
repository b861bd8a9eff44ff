"""`/api/stores`: a caller's documents, in the reference's shapes and with ours beside them.

Law: the partition is the caller's scope and the agent that is named. What a store refuses
becomes a status here; its validation is the one that tools have.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from agentsite.host import store_fields as fields
from agentsite.host.agents import Agent
from agentsite.host.bodies import parse_json
from agentsite.host.edges import read_json_body
from agentsite.host.errors import Refusal
from agentsite.host.identity import Caller
from agentsite.host.paying import ScopePays
from agentsite.host.purse import BudgetSpent
from agentsite.host.rest import ApiView, encode_json, json_answer, redact_for
from agentsite.host.site import site
from agentsite.manifest.reload import UnknownAgent
from agentsite.manifest.stores import StoreSpec
from agentsite.rows.units import unit
from agentsite.tools.similarity import find_similar
from stores_app import actions, reading
from stores_app.errors import StoreError
from stores_app.listing import list_documents, read_query
from stores_app.places import Origin, Place, find_place

STATUS = {
    "store_not_found": 404,
    "document_not_found": 404,
    "invalid_document": 400,
    "invalid_query": 400,
    "query_too_slow": 400,
    "store_read_only": 403,
    "conflict": 409,
    "version_conflict": 409,
    "store_unavailable": 503,
}
API = Origin("api")


class StoreView(ApiView):
    """What the routes of stores share."""

    of_one_agent = True

    async def answer(self, work: Any, *args: Any) -> Any:
        """What `work(place or agent …)` gives, in a unit. Raises `Refusal`."""
        return await settle(unit(work, *args))


async def settle(work: Awaitable[Any]) -> Any:
    """What a store's work gives; what the store refuses becomes a `Refusal`."""
    try:
        return await work
    except StoreError as error:
        status = STATUS[error.code]
        headers = {"Retry-After": "1"} if status == 503 else None
        raise Refusal(status, error.code, str(error), error.details, headers) from error


async def list_as_json(
    agent_id: str | None, caller: Caller, name: str, query: dict[str, Any]
) -> bytes:
    """A page of documents by a query of `ListQuery`, checked. Raises `Refusal`."""
    if "similar" not in query:
        found: bytes = await settle(unit(_list, agent_id, caller.scope_id, name, query))
        return found
    place, agent = await settle(unit(_open_for_vectors, agent_id, caller.scope_id, name))
    vectors = agent.bundle.config.models.embedding
    pay = ScopePays(site().ledger, agent, caller.scope_id, caller.identity.key_id)
    text = redact_for(caller.sealed(agent.id), query["similar"])  # a provider reads it
    asked = {**_read_filter(query), "similar": text}
    try:
        near = await settle(find_similar(place, vectors, asked, pay, trace=True))
    except BudgetSpent as spent:
        raise Refusal(429, "budget_exceeded", str(spent)) from spent
    return encode_json(near)


async def document_as_json(agent_id: str | None, scope_id: str, name: str, key: str) -> bytes:
    """A document and its superseded versions. Raises `Refusal`."""
    found: bytes = await settle(unit(_read, agent_id, scope_id, name, key))
    return found


class StoreList(StoreView):
    """`/api/stores`"""

    http_method_names = ["get", "head"]

    @extend_schema(**fields.STORE_LIST)
    async def get(self, request: Request) -> HttpResponse:
        """The agent's stores, with how many documents the caller has in each."""
        agent = self.read_query(fields.StoreQuery).get("agentId")
        return json_answer(await self.answer(_list_stores, agent, self.scope_id))


class DocumentList(StoreView):
    """`/api/stores/{name}`"""

    http_method_names = ["get", "post", "head"]

    @extend_schema(**fields.LIST)
    async def get(self, request: Request, name: str) -> HttpResponse:
        """Documents by filter, in an order, page by page."""
        query = self.read_query(fields.ListQuery)
        agent = query.pop("agentId", None)
        if "similar" in query:  # whose number of documents has a default of its own
            query["limit"] = self.request.query_params.get("limit")
        return json_answer(await list_as_json(agent, self.caller, name, query))

    @extend_schema(**fields.ADD)
    async def post(self, request: Request, name: str) -> HttpResponse:
        """Store the body under the key that its fields make."""
        query = self.read_query(fields.WriteQuery)
        raw = read_json_body(self.request._request)
        stored = await self.answer(_put, self.caller, name, "", raw, query)
        return HttpResponse(encode_json(stored), status=201, content_type="application/json")


class DocumentDetail(StoreView):
    """`/api/stores/{name}/{key}`"""

    http_method_names = ["get", "put", "delete", "head"]

    @extend_schema(**fields.READ)
    async def get(self, request: Request, name: str, key: str) -> HttpResponse:
        """The document and its superseded versions, newest first."""
        agent = self.read_query(fields.StoreQuery).get("agentId")
        return json_answer(await document_as_json(agent, self.scope_id, name, key))

    @extend_schema(**fields.PUT)
    async def put(self, request: Request, name: str, key: str) -> HttpResponse:
        """Store the body, whose fields must make this very key."""
        query = self.read_query(fields.WriteQuery)
        raw = read_json_body(self.request._request)
        stored = await self.answer(_put, self.caller, name, key, raw, query)
        status = 200 if "previousVersion" in stored else 201
        return HttpResponse(encode_json(stored), status=status, content_type="application/json")

    @extend_schema(**fields.DELETE)
    async def delete(self, request: Request, name: str, key: str) -> HttpResponse:
        """Delete the document; with a history its last version is kept there."""
        query = self.read_query(fields.WriteQuery)
        await self.answer(_delete, self.scope_id, name, key, query)
        return HttpResponse(status=204)


def _find_stores(agent_id: str | None) -> tuple[str, tuple[StoreSpec, ...]]:
    try:
        agent = site().agents.current(agent_id)
    except UnknownAgent as error:
        raise Refusal(404, "agent_not_found", f'There is no agent "{agent_id}".') from error
    return agent.id, agent.bundle.stores


def _open(agent_id: str | None, scope_id: str, name: str) -> Place:
    agent, specs = _find_stores(agent_id)
    return find_place(agent, scope_id, specs, name)


def _open_for_vectors(agent_id: str | None, scope_id: str, name: str) -> tuple[Place, Agent]:
    place = _open(agent_id, scope_id, name)
    return place, site().agents.current(agent_id)


def _list_stores(agent_id: str | None, scope_id: str) -> bytes:
    agent, specs = _find_stores(agent_id)
    found = reading.count_stores(agent, scope_id, specs)
    return encode_json({"stores": [_describe(spec, count) for spec, count in found]})


def _describe(spec: StoreSpec, count: int) -> dict[str, Any]:
    told = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    kept = ("name", "description", "entity", "trace", "history", "shared", "failure")
    return {
        **{key: told[key] for key in kept},
        "ttl": told.get("ttl"),
        "ttl_conditional": told["ttl_conditional"],
        "documentCount": count,
        "documentCountExact": count < reading.COUNTED_STORES,
    }


def _list(agent_id: str | None, scope_id: str, name: str, query: dict[str, Any]) -> bytes:
    place = _open(agent_id, scope_id, name)
    page = list_documents(place, read_query(place, **_read_filter(query)))
    return encode_json(
        {
            "documents": [reading.document_to_api(place, row) for row in page.documents],
            "total": page.total,
            "totalExact": page.total_exact,
            "hasMore": page.cursor is not None,
            "cursor": page.cursor,
            "notes": page.notes,
        }
    )


def _read_filter(query: dict[str, Any]) -> dict[str, Any]:
    if "filter" not in query:
        return query
    try:
        return {**query, "filter": msgspec.json.decode(query["filter"])}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal(400, "invalid_query", "Invalid filter JSON") from error


def _read(agent_id: str | None, scope_id: str, name: str, key: str) -> bytes:
    place = _open(agent_id, scope_id, name)
    row, older = reading.read_history(place, key)
    if row is None:
        raise Refusal(404, "document_not_found", f'Store "{place.name}" has no such document')
    return encode_json(
        {
            "document": reading.document_to_api(place, row),
            "history": [reading.version_to_api(place, version) for version in older],
        }
    )


def _put(caller: Caller, name: str, key: str, raw: bytes, query: dict[str, Any]) -> dict[str, Any]:
    place = _open(query.get("agentId"), caller.scope_id, name)
    payload = redact_for(caller.sealed(place.agent), parse_json(raw))
    stored = actions.put(place, payload, API, if_version=query.get("ifVersion"), key=key)
    return {"stored": True, **msgspec.to_builtins(stored)}


def _delete(scope_id: str, name: str, key: str, query: dict[str, Any]) -> None:
    place = _open(query.get("agentId"), scope_id, name)
    try:
        actions.delete(place, key, if_version=query.get("ifVersion"))
    except StoreError as error:
        if error.code == "document_not_found":
            text = f'Store "{place.name}" has no such document'
            raise Refusal(404, "document_not_found", text) from error
        raise
