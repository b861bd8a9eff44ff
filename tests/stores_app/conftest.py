"""Stores of a small agent, as one scope sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentsite.manifest.stores import StoreSpec
from stores_app.actions import put
from stores_app.listing import LIMITS, Limits, Page, list_documents, read_query
from stores_app.places import Origin, Place, Stored, find_place
from stores_app.reading import get

API = Origin("api")
SPECS: dict[str, dict[str, Any]] = {
    "customers": {
        "entity": {
            "name": "Customer",
            "key": "{id}",
            "schema": {"id": {"type": "string"}, "name": {"type": "string", "nullable": True}},
        }
    },
    "orders": {
        "entity": {
            "name": "Order",
            "key": "{number}",
            "schema": {
                "number": {"type": "string"},
                "state": {"type": "enum", "values": ["new", "sent", "lost"]},
                "total": {"type": "number", "min": 0, "max": 1e9, "nullable": True},
                "placed": {"type": "datetime", "nullable": True},
                "gift": {"type": "boolean", "nullable": True},
                "note": {"type": "string", "nullable": True},
                "address": {
                    "type": "object",
                    "nullable": True,
                    "fields": {
                        "city": {"type": "string"},
                        "floor": {"type": "number", "nullable": True},
                    },
                },
                "tags": {"type": "array", "item": {"type": "string"}, "nullable": True},
                "lines": {
                    "type": "array",
                    "nullable": True,
                    "item": {
                        "type": "object",
                        "fields": {"sku": {"type": "string"}, "qty": {"type": "number"}},
                    },
                },
                "customer": {"type": "ref", "store": "customers", "nullable": True},
            },
        },
        "history": {"versions": 2},
        "trace": True,
    },
    "visits": {
        "entity": {
            "name": "Visit",
            "key": "{who}-{day}",
            "schema": {
                "who": {"type": "string"},
                "day": {"type": "string"},
                "state": {"type": "string", "nullable": True},
            },
        },
        "ttl": {"default": 60, "override": [{"condition": "state = 'short'", "ttl": 1}]},
        "ttl_conditional": [{"condition": "state IN ['long','longer']", "ttl": 600}],
    },
    "rates": {
        "entity": {
            "name": "Rate",
            "key": "{code}",
            "schema": {"code": {"type": "string"}, "rate": {"type": "number", "nullable": True}},
        },
        "shared": True,
    },
}


def make_specs(**changes: dict[str, Any]) -> tuple[StoreSpec, ...]:
    """The stores above; `changes` replace keys of single ones."""
    return tuple(
        StoreSpec.model_validate({"name": name, **spec, **changes.get(name, {})})
        for name, spec in SPECS.items()
    )


Open = Callable[..., Place]


@pytest.fixture
def at(db: None) -> Open:
    """Open a store: `at("orders", scope="acme", orders={"failure": …})`."""

    def open_store(name: str, scope: str = "acme", agent: str = "desk", **changes: Any) -> Place:
        return find_place(agent, scope, make_specs(**changes), name)

    return open_store


def order(number: str, state: str = "new", **more: Any) -> dict[str, Any]:
    """The payload of an order."""
    return {"number": number, "state": state, **more}


def store(place: Place, *payloads: dict[str, Any]) -> list[Stored]:
    """Put documents, in order."""
    return [put(place, payload, API) for payload in payloads]


def ask(place: Place, limits: Limits = LIMITS, **question: Any) -> Page:
    """A page."""
    return list_documents(place, read_query(place, **question), limits)


def keys(place: Place, **question: Any) -> list[str]:
    """The keys of a page."""
    return [row.key for row in ask(place, **question).documents]


def get_payload(place: Place, key: str) -> dict[str, Any]:
    """The payload of a document that is there."""
    row = get(place, key)
    assert row is not None
    return row.payload
