"""Writing, deleting, history, references, sharing: verbs on documents."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from stores_app.actions import delete, once, put, writing
from stores_app.errors import (
    Conflict,
    DocumentNotFound,
    InvalidDocument,
    ReadOnlyStore,
    StoreNotFound,
    VersionConflict,
)
from stores_app.models import Document, DocumentValue, DocumentVersion, Reference, VersionFloor
from stores_app.places import Origin, Place, Stored, find_place
from stores_app.reading import count_stores, document_to_api, get, read_history, version_to_api
from tests.requirements import requirement
from tests.stores_app.conftest import API, Open, ask, keys, make_specs, order, store

ALL = {"versions": 100}


def test_a_document_is_put_and_read(at: Open) -> None:
    place = at("orders")
    assert put(place, order("1", total=5), API) == Stored("1", 1)
    assert put(place, order("1", "sent", total=6), API) == Stored("1", 2, 1)
    row = get(place, "1")
    assert row is not None
    assert (row.version, row.payload["state"], row.payload["total"]) == (2, "sent", 6)
    assert get(place, "2") is None
    assert get(place, "1\x00") is None


def test_partitions_are_kept_apart(at: Open) -> None:
    store(at("orders"), order("1", total=1))
    for other in (at("orders", "b"), at("orders", ""), at("orders", agent="x"), at("visits")):
        assert get(other, "1") is None
        assert ask(other).total == 0
        with pytest.raises(DocumentNotFound):
            delete(other, "1")
    assert put(at("orders", "b"), order("1"), API).version == 1
    assert keys(at("orders"), filter={"total": 1}) == ["1"]


def test_stores_are_found_by_both_spellings() -> None:
    specs = make_specs()
    assert find_place("a", "", specs, "orders").name == "orders"
    with pytest.raises(StoreNotFound, match='Store "nope" not found'):
        find_place("a", "", specs, "nope")


@requirement("scope.store-version")
def test_a_write_may_depend_on_the_version(at: Open) -> None:
    place = at("orders")
    with pytest.raises(VersionConflict, match="does not exist"):
        put(place, order("1"), API, if_version=1)
    put(place, order("1"), API, if_version=0)
    with pytest.raises(VersionConflict, match="is at version 1, not at version 0"):
        put(place, order("1"), API, if_version=0)
    put(place, order("1"), API, if_version=1)
    with pytest.raises(VersionConflict):
        delete(place, "1", if_version=1)
    delete(place, "1", if_version=2)
    with pytest.raises(DocumentNotFound):
        delete(place, "1")


@requirement("scope.store-history")
def test_history_is_kept_as_long_as_the_store_says(at: Open) -> None:
    place = at("orders")
    for number in range(4):
        put(place, order("1", total=number), API)
    newest, older = read_history(place, "1")
    assert newest is not None
    assert newest.version == 4
    assert [(row.version, row.payload["total"]) for row in older] == [(3, 2), (2, 1)]
    assert version_to_api(place, older[0])["meta"]["stale"] is True
    delete(place, "1")
    newest, older = read_history(place, "1")
    assert newest is None
    assert [(row.version, row.deleted) for row in older] == [(4, True), (3, False)]
    assert put(place, order("1"), API).version == 5
    store(at("customers"), {"id": "c"}, {"id": "c"})
    delete(at("customers"), "c")
    assert DocumentVersion.objects.filter(store="customers").count() == 0


@requirement("scope.store-version")
def test_a_version_never_comes_back(at: Open) -> None:
    """Else `ifVersion` would hold of another document than the one that was read."""
    place = at("customers")
    store(place, {"id": "c"}, {"id": "c"})
    delete(place, "c")
    with pytest.raises(VersionConflict):
        put(place, {"id": "c"}, API, if_version=1)
    assert put(place, {"id": "c"}, API, if_version=0).version == 3
    delete(place, "c")
    store(place, {"id": "d"})
    delete(place, "d")
    assert [row.version for row in VersionFloor.objects.all()] == [4]
    assert put(at("customers", "b"), {"id": "c"}, API).version == 1


@requirement("scope.store-trace")
def test_a_trace_says_who_wrote(at: Open) -> None:
    place = at("orders")
    origin = Origin("tool", "sess_1", "run_1", "tc_1", "store_orders", {"number": "1"})
    put(place, order("1"), origin)
    row = get(place, "1")
    assert row is not None
    trace = document_to_api(place, row)["meta"]["trace"]
    assert trace == {
        "source": "tool",
        "sessionId": "sess_1",
        "runId": "run_1",
        "callId": "tc_1",
        "tool": "store_orders",
        "arguments": {"number": "1"},
    }
    put(at("customers"), {"id": "c"}, origin)
    untraced = get(at("customers"), "c")
    assert untraced is not None
    assert "trace" not in document_to_api(at("customers"), untraced)["meta"]


@requirement("scope.store-refs")
def test_references_hold(at: Open) -> None:
    place = at("orders")
    with pytest.raises(InvalidDocument, match='"customer" names "c", which store "customers"'):
        put(place, order("1", customer="c"), API)
    store(at("customers", "other"), {"id": "c"})
    with pytest.raises(InvalidDocument):
        put(place, order("1", customer="c"), API)
    store(at("customers"), {"id": "c"}, {"id": "d"})
    store(place, order("1", customer="c"))
    with pytest.raises(Conflict, match="still referred to by orders/1"):
        delete(at("customers"), "c")
    put(place, order("1", customer="d"), API)
    delete(at("customers"), "c")
    delete(place, "1")
    delete(at("customers"), "d")
    assert Reference.objects.count() == 0
    assert DocumentValue.objects.filter(scope_id="acme").count() == 0


def test_a_document_may_refer_to_itself(db: None) -> None:
    fields = {"id": {"type": "string"}, "next": {"type": "ref", "store": "orders"}}
    entity = {"name": "O", "key": "{id}", "schema": fields}
    place = find_place("a", "s", make_specs(orders={"entity": entity}), "orders")
    put(place, {"id": "1", "next": "1"}, API)
    put(place, {"id": "2", "next": "1"}, API)
    with pytest.raises(Conflict, match="orders/2"):
        delete(place, "1")
    delete(place, "2")
    delete(place, "1")


@requirement("scope.store-shared")
def test_shared_stores_are_read_by_all_and_written_by_the_empty_scope(at: Open) -> None:
    place = at("rates")
    for write in (lambda: put(place, {"code": "x"}, API), lambda: delete(place, "x")):
        with pytest.raises(ReadOnlyStore, match=r'^Store "rates" is shared \(read-only\) — '):
            write()
    store(at("rates", ""), {"code": "x", "rate": 2})
    assert keys(place, filter={"rate": {"$gt": 1}}) == ["x"]
    assert keys(place, search="x") == ["x"]
    assert get(place, "x") is not None
    assert all(Document.objects.filter(store="rates").values_list("shared", flat=True))


def test_tenants_are_not_told_who_wrote_a_shared_document(at: Open) -> None:
    """Else its trace tells them of sessions and words of the empty scope."""
    changes = {"rates": {"trace": True, "history": {"versions": 2}}}
    owner, tenant = at("rates", scope="", **changes), at("rates", scope="acme", **changes)
    store(owner, {"code": "x"}, {"code": "x", "rate": 2})
    for place, told in ((owner, True), (tenant, False)):
        row, older = read_history(place, "x")
        assert row is not None
        shown = [document_to_api(place, row), version_to_api(place, older[0])]
        assert [("trace" in each["meta"]) for each in shown] == [told, told]
    assert keys(at("rates", agent="second")) == []


def test_two_documents_of_one_key_are_told_apart(at: Open) -> None:
    place = at("visits")
    store(place, {"who": "a-b", "day": "c"})
    with pytest.raises(Conflict, match='key "a-b-c" belongs to another document'):
        put(place, {"who": "a", "day": "b-c"}, API)
    with pytest.raises(InvalidDocument, match='makes the key "x-y", not "z"'):
        put(place, {"who": "x", "day": "y"}, API, key="z")


def test_a_call_writes_once(at: Open) -> None:
    place = at("orders")

    def write() -> Any:
        put(place, order("1"), API)
        return {"stored": True}

    for _ in range(2):
        with writing(place):
            assert once(place, "tc_1", write) == {"stored": True}
    row = get(place, "1")
    assert row is not None
    assert row.version == 1
    with writing(at("orders", "other")):
        once(at("orders", "other"), "tc_1", dict)


def test_stores_are_counted_per_scope(at: Open) -> None:
    store(at("orders"), order("1"), order("2"))
    counts = {s.name: n for s, n in count_stores("desk", "acme", make_specs())}
    assert counts == {"customers": 0, "orders": 2, "visits": 0, "rates": 0}
    assert sum(n for _, n in count_stores("desk", "nobody", make_specs())) == 0


@requirement("scope.store-definer")
def test_functions_of_the_database_take_the_scope_from_the_transaction(at: Open) -> None:
    store(at("orders"), order("1", note="secret words", tags=["red"]))
    found = (
        "SELECT (SELECT count(*) FROM stores_matching('desk', 'orders', %s, 'secret', 10)),"
        " (SELECT count(*) FROM stores_containing('desk', 'orders', %s, 'tags', '\"red\"', 10))"
    )
    expected = {"acme": (1, 1), "other": (0, 0), "": (0, 0)}
    with connection.cursor() as cursor:
        for scope, counts in expected.items():
            cursor.execute("SELECT set_config('agentsite.scope', %s, true)", [f"s:{scope}"])
            cursor.execute(found, [False, False])
            assert cursor.fetchone() == counts
            cursor.execute(found, [True, True])
            assert cursor.fetchone() == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_key_do_not_lose_each_other(transactional_db: None) -> None:
    specs = make_specs(orders={"history": ALL})
    place: Place = find_place("desk", "acme", specs, "orders")
    start = threading.Barrier(8)

    def write(number: int) -> None:
        try:
            start.wait(10)
            for _ in range(5):
                put(place, order("1", total=number), API)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    newest, older = read_history(place, "1")
    assert newest is not None
    assert newest.version == 40
    assert [row.version for row in older] == list(range(39, 0, -1))
    assert len(keys(place, filter={"total": newest.payload["total"]})) == 1
