"""A store as one partition sees it, who writes, and a document as it is read: values.

Law: whoever holds a `Place` reaches this one scope. It is made where the caller is known,
never from what a model or a client says.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agentsite.manifest.stores import StoreSpec
from stores_app.errors import ReadOnlyStore, StoreNotFound


class Place(msgspec.Struct, frozen=True):
    """One store of one partition."""

    agent: str
    caller_scope: str
    spec: StoreSpec
    stores: Mapping[str, StoreSpec]
    """All stores of the agent by name: references lead to them."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def scope_id(self) -> str:
        """Where the documents stand: shared ones in the empty scope."""
        return "" if self.spec.shared else self.caller_scope

    def require_writer(self) -> None:
        """Raises `ReadOnlyStore` for a scope that may only read."""
        if self.spec.shared and self.caller_scope:
            raise ReadOnlyStore(self.name)

    def neighbour(self, name: str) -> Place:
        """Another store of the same agent and caller."""
        return msgspec.structs.replace(self, spec=self.stores[name])


def find_place(agent: str, scope_id: str, specs: Iterable[StoreSpec], name: str) -> Place:
    """The store called `name`; underscores may stand for its dashes. Raises `StoreNotFound`."""
    stores = {spec.name: spec for spec in specs}
    spec = stores.get(name) or stores.get(name.replace("_", "-"))
    if spec is None:
        raise StoreNotFound(name)
    return Place(agent, scope_id, spec, stores)


class Origin(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Who writes: a tool call, the API or staff. What a `trace` keeps."""

    source: str
    """`tool`, `handler`, `api`, `staff` or `replay`."""
    session_id: str = ""
    run_id: str = ""
    call_id: str = ""
    tool: str = ""
    arguments: dict[str, Any] | None = None

    def of_item(self, item: Any) -> Origin:
        """Who writes one document of a call's several: of its arguments, the document's own."""
        if self.arguments is None:
            return self
        return msgspec.structs.replace(self, arguments=item if isinstance(item, dict) else {})


class Stored(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The answer to a write."""

    key: str
    version: int
    previous_version: int | None = None


class Read(msgspec.Struct, frozen=True):
    """A document as it stands in the database."""

    id: int
    key: str
    version: int
    payload: dict[str, Any]
    trace: dict[str, Any] | None
    created_at: dt.datetime
    updated_at: dt.datetime
    expires_at: dt.datetime | None
    stale: bool
    pending: bool = False
    """Its vector is still to come."""


COLUMNS = (
    "d.id, d.key, d.version, d.payload, d.trace, d.created_at, d.updated_at, d.expires_at,"
    " coalesce(d.expires_at <= now(), false), EXISTS (SELECT 1 FROM stores_app_documentvector w"
    "  WHERE w.document_id = d.id AND w.vector IS NULL AND w.text_hash <> '')"
)
"""What `read_row` takes, of a document `d`."""
WIDTH = 10


def read_row(row: tuple[Any, ...]) -> Read:
    """A row of `COLUMNS`; further columns are left alone."""
    id_, key, version, payload, trace, created, updated, expires, stale, pending = row[:WIDTH]
    return Read(
        id_, key, version, as_json(payload), as_json(trace), created, updated, expires, stale,
        pending,
    )  # fmt: skip


def as_json(value: Any) -> Any:
    """A JSONB column, which raw queries give as text."""
    return msgspec.json.decode(value) if isinstance(value, str | bytes) else value


def to_json(value: Any) -> str:
    """Text for a JSONB parameter."""
    return msgspec.json.encode(value).decode()
