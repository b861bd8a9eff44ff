"""Batches that fail in part, dead letters, and what goes when its time is over."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from stores_app import deadletters
from stores_app.actions import put
from stores_app.batches import put_many
from stores_app.errors import BatchFailed, ReadOnlyStore
from stores_app.expiry import forget_receipts, purge_documents
from stores_app.models import DeadLetter, Document, DocumentVersion, Receipt
from stores_app.places import Origin, Place
from stores_app.reading import get
from tests.requirements import requirement
from tests.stores_app.conftest import API, Open, keys, order, store

BATCH: list[Any] = [
    order("1"),
    order("2", "gone"),
    order("3", customer="nobody"),
    "no document",
    order("4", note="a\x00b"),
    order("5"),
]


def with_failure(at: Open, **failure: Any) -> Place:
    return at("orders", orders={"failure": failure})


@requirement("scope.store-failure")
def test_a_partial_batch_stores_what_fits(at: Open) -> None:
    place = with_failure(at, mode="partial")
    result = put_many(place, BATCH, API)
    assert (result["stored"], result["failed"], result["total"]) == (2, 4, 6)
    assert [each["index"] for each in result["errors"]] == [1, 2, 3]
    assert 'store "customers" does not have' in result["errors"][1]["error"]
    assert keys(place, sort="number") == ["1", "5"]
    assert DeadLetter.objects.count() == 0


def test_skip_leaves_out_what_does_not_fit(at: Open) -> None:
    result = put_many(with_failure(at, mode="skip"), BATCH, API)
    assert result == {"stored": 2, "skipped": 4, "failed": 0, "total": 6}


@requirement("scope.store-failure")
def test_all_or_nothing_leaves_nothing(at: Open) -> None:
    place = with_failure(at, mode="all-or-nothing", deadLetter=True)
    with pytest.raises(BatchFailed, match=r"Nothing was stored, 4 of 6 failed\. item 1: "):
        put_many(place, BATCH, API, call_id="tc_1")
    assert keys(place) == []
    letter = DeadLetter.objects.get()
    assert len(letter.items) == 6
    assert put_many(place, [order("1"), order("5")], API)["stored"] == 2


def test_each_document_of_a_batch_keeps_its_own_arguments(at: Open) -> None:
    place = with_failure(at, mode="partial", deadLetter=True)
    call = Origin("tool", tool="store_orders_batch", arguments={})
    put_many(place, BATCH, call)
    row = get(place, "1")
    assert row is not None
    assert row.trace == {"source": "tool", "tool": call.tool, "arguments": BATCH[0]}
    letters = list(DeadLetter.objects.all())
    assert len(letters) == 4
    for letter in letters:
        (item,) = letter.items
        assert letter.origin["arguments"] == (item if isinstance(item, dict) else {})


def test_a_batch_of_a_call_is_stored_once(at: Open) -> None:
    place = with_failure(at, mode="partial", deadLetter=True)
    first = put_many(place, BATCH, API, call_id="tc_1")
    assert put_many(place, BATCH, API, call_id="tc_1") == first
    row = get(place, "1")
    assert row is not None
    assert row.version == 1
    assert DeadLetter.objects.count() == 4


def test_later_documents_of_a_batch_may_refer_to_earlier_ones(at: Open) -> None:
    fields = {"id": {"type": "string"}, "up": {"type": "ref", "store": "orders", "nullable": True}}
    entity = {"name": "O", "key": "{id}", "schema": fields}
    place = at("orders", orders={"entity": entity})
    items = [{"id": "a"}, {"id": "b", "up": "a"}, {"id": "c", "up": "x"}]
    assert put_many(place, items, API)["stored"] == 2


@requirement("scope.store-letters")
def test_a_dead_letter_is_replayed_once(at: Open) -> None:
    place = with_failure(at, mode="partial", deadLetter=True)
    put_many(place, [order("3", customer="c")], API)
    letter = DeadLetter.objects.get()
    assert letter.origin == {"source": "api"}
    assert "customers" in str(deadletters.replay(letter.pk, "acme", place))
    store(at("customers"), {"id": "c"})
    assert deadletters.replay(letter.pk, "acme", place) is None
    assert deadletters.replay(letter.pk, "acme", place) == "it is not open any more"
    letter.refresh_from_db()
    assert (letter.status, letter.attempts) == ("replayed", 2)
    row = get(place, "3")
    assert row is not None
    assert (row.version, row.trace) == (1, {"source": "replay"})
    assert deadletters.discard([letter.pk]) == 0


def test_a_shared_store_takes_no_batch_of_a_scope(at: Open) -> None:
    with pytest.raises(ReadOnlyStore):
        put_many(at("rates"), [{"code": "x"}], API)


def expire(key: str, hours: float) -> None:
    rows = Document.objects.filter(key=key)
    rows.update(expires_at=timezone.now() - dt.timedelta(hours=hours), version=F("version"))


@requirement("scope.store-expiry")
def test_expired_documents_are_hidden_then_purged(at: Open) -> None:
    place = at("visits", visits={"history": {"versions": 3}})
    store(place, {"who": "a", "day": "1"}, {"who": "a", "day": "1"}, {"who": "b", "day": "1"})
    expire("a-1", 1)
    assert keys(place) == ["b-1"]
    assert keys(place, filter={"who": "a"}) == []
    assert keys(place, search="a") == []
    row = get(place, "a-1")
    assert row is not None
    assert row.stale
    assert purge_documents() == 0
    expire("a-1", 25)
    assert purge_documents() == 1
    assert get(place, "a-1") is None
    assert not DocumentVersion.objects.filter(key="a-1").exists()
    assert put(place, {"who": "a", "day": "1"}, API).version == 3
    assert get(place, "b-1") is not None


def test_a_write_gives_an_expired_document_new_life(at: Open) -> None:
    place = at("visits")
    store(place, {"who": "a", "day": "1"})
    expire("a-1", 1)
    assert put(place, {"who": "a", "day": "1"}, API).version == 2
    assert keys(place) == ["a-1"]


def test_what_others_refer_to_is_not_purged(at: Open) -> None:
    store(at("customers"), {"id": "c"})
    store(at("orders"), order("1", customer="c"))
    expire("c", 48)
    assert purge_documents() == 0
    expire("1", 48)
    assert purge_documents() == 2


def test_receipts_are_kept_for_a_week(at: Open) -> None:
    put_many(at("orders"), [order("1")], API, call_id="tc_1")
    assert forget_receipts() == 0
    Receipt.objects.update(created_at=timezone.now() - dt.timedelta(days=8))
    assert forget_receipts() == 1
