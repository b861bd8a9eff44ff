"""Single documents, their history, and stores as a whole: what is read by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection

from agentsite.manifest.stores import StoreSpec
from agentsite.rows.tenancy import tenant
from stores_app.listing import count_documents
from stores_app.models import DocumentVersion
from stores_app.places import COLUMNS, Place, Read, read_row

MAX_HISTORY = 100
COUNTED_STORES = 100_000
"""Documents of a store are counted up to this."""


def get(place: Place, key: str) -> Read | None:
    """The newest version, expired or not."""
    if "\x00" in key:
        return None
    with tenant(place.caller_scope):
        return _find(place, key)


def _find(place: Place, key: str) -> Read | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM stores_app_document d WHERE d.scope_id = %s AND d.agent = %s"  # noqa: S608 - constant
            " AND d.store = %s AND d.key = %s",
            [place.scope_id, place.agent, place.name, key],
        )
        row = cursor.fetchone()
    return row and read_row(row)


def read_history(
    place: Place, key: str, limit: int = MAX_HISTORY
) -> tuple[Read | None, list[DocumentVersion]]:
    """The newest version and the superseded ones, newest first; a deleted document has these."""
    if "\x00" in key:
        return None, []
    with tenant(place.caller_scope):
        rows = DocumentVersion.objects.of_store(place.agent, place.scope_id, place.name)
        return _find(place, key), list(rows.filter(key=key).order_by("-version")[:limit])


def count_stores(
    agent: str, scope_id: str, specs: Iterable[StoreSpec]
) -> list[tuple[StoreSpec, int]]:
    """Each store with its number of documents, counted up to `COUNTED_STORES`."""
    stores = {spec.name: spec for spec in specs}
    with tenant(scope_id):
        return [
            (spec, count_documents(Place(agent, scope_id, spec, stores), COUNTED_STORES))
            for spec in stores.values()
        ]


def document_to_api(place: Place, row: Read, *, trace: bool = True) -> dict[str, Any]:
    """A document as clients and models see it; `meta.trace` where the store keeps one."""
    meta: dict[str, Any] = {
        "computedAt": row.updated_at.isoformat(),
        "createdAt": row.created_at.isoformat(),
        "stale": row.stale,
    }
    if row.expires_at is not None:
        meta["ttl"] = round((row.expires_at - row.updated_at).total_seconds())
        meta["expiresAt"] = row.expires_at.isoformat()
    if row.pending:
        meta["embedding"] = "pending"
    if trace and row.trace is not None and _may_trace(place):
        meta["trace"] = row.trace
    return _shape(place, row.key, row.version, row.payload, meta)


def version_to_api(place: Place, row: DocumentVersion) -> dict[str, Any]:
    """A superseded version, in the shape of a document."""
    meta: dict[str, Any] = {
        "computedAt": row.written_at.isoformat(),
        "supersededAt": row.superseded_at.isoformat(),
        "stale": True,
    }
    if row.deleted:
        meta["deleted"] = True
    if row.trace is not None and _may_trace(place):
        meta["trace"] = row.trace
    return _shape(place, row.key, row.version, row.payload, meta)


def _may_trace(place: Place) -> bool:
    # Who wrote a shared document, in which session and with which words, is its owners' affair.
    return place.scope_id == place.caller_scope


def _shape(
    place: Place, key: str, version: int, payload: dict[str, Any], meta: dict[str, Any]
) -> dict[str, Any]:
    return {
        "key": key,
        "appId": place.agent,
        "store": place.name,
        "version": version,
        "payload": payload,
        "meta": meta,
    }
