"""Filters, orders and cursors, whichever way a list is made."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from stores_app.errors import BadQuery, SlowQuery
from stores_app.listing import Limits
from tests.requirements import requirement
from tests.servers import test_database_url
from tests.stores_app.conftest import Open, ask, keys, order, store

ORDERS = [
    order("a", total=9, placed="2026-01-02T10:00:00Z", tags=["red", "big"], gift=True),
    order("b", "sent", total=10.5, placed="2026-01-02T10:30:00+02:00", note="Handle with care"),
    order("c", "sent", total=100, placed="2025-12-31", address={"city": "Oslo", "floor": 3}),
    order("d", "lost", lines=[{"sku": "x", "qty": 1}, {"sku": "y", "qty": 2}], gift=False),
    order("e", total=-0.0, tags=["red"], address={"city": "Bergen"}, note="careful 100%"),
]
FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "abcde"),
    ({"state": "sent"}, "bc"),
    ({"state": {"$in": ["new", "lost"]}}, "ade"),
    ({"state": {"$eq": "lost"}}, "d"),
    ({"total": 9}, "a"),
    ({"total": 10.5}, "b"),
    ({"total": 0}, "e"),
    ({"total": {"$gt": 9}}, "bc"),
    ({"total": {"$gte": 9, "$lt": 100}}, "ab"),
    ({"total": {"$lte": 9}, "state": "new"}, "ae"),
    ({"total": {"$in": [9, 100]}}, "ac"),
    ({"total": None}, "d"),
    ({"total": {"$exists": False}}, "d"),
    ({"total": {"$exists": True}}, "abce"),
    ({"placed": {"$gt": "2026-01-02T08:30:00Z"}}, "a"),
    ({"placed": "2026-01-02T08:30:00Z"}, "b"),
    ({"placed": {"$lt": "2026-01-01"}}, "c"),
    ({"gift": True}, "a"),
    ({"gift": {"$in": [False]}}, "d"),
    ({"address.city": "Oslo"}, "c"),
    ({"address.floor": {"$gte": 3}}, "c"),
    ({"address.city": {"$gt": "B", "$lt": "C"}}, "e"),
    ({"address": {"city": "Bergen", "floor": None}}, "e"),
    ({"tags": {"$contains": "red"}}, "ae"),
    ({"tags": {"$contains": "re"}}, ""),
    ({"tags": {"$contains": "red"}, "state": {"$in": ["new"]}, "total": {"$gt": 1}}, "a"),
    ({"tags": ["red"]}, "e"),
    ({"lines": {"$contains": {"sku": "y", "qty": 2.0}}}, "d"),
    ({"lines": {"$contains": {"sku": "y", "qty": 1}}}, ""),
    ({"note": {"$contains": "care"}}, "be"),
    ({"note": {"$contains": "100%"}}, "e"),
    ({"note": {"$contains": "%_"}}, ""),
    ({"lines.0.sku": "x"}, "d"),
    ({"lines.1.qty": {"$gt": 1}}, "d"),
    ({"nowhere": 1}, ""),
    ({"nowhere": {"$exists": False}}, "abcde"),
    ({"tags.0": {"$contains": "e"}}, "ae"),
]
ORDERINGS = [
    ("total", "eabcd"),
    ("-total", "cbaed"),
    ("placed", "cba"),
    ("-placed", "abc"),
    ("number", "abcde"),
    ("-state", "cbead"),
    ("address.city", "ec"),
    ("gift", "da"),
    ("$key", "abcde"),
    ("-$key", "edcba"),
    ("$updatedAt", "abcde"),
    ("lines.1.qty", "d"),
]


WAYS = {
    "few": Limits(),
    "many": Limits(few=0, held=0),
    "whole": Limits(few=0, walk=0, held=0, counted=2),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Limits:
    """Each way of making a list, by limits that force it."""
    return WAYS[request.param]


@requirement("scope.store-query")
@pytest.mark.parametrize(("filter", "wanted"), FILTERS, ids=str)
def test_a_filter_finds(at: Open, way: Limits, filter: dict[str, Any], wanted: str) -> None:
    store(at("orders"), *ORDERS)
    store(at("orders", "other"), *ORDERS)
    store(at("orders", agent="second"), *ORDERS)
    page = ask(at("orders"), filter=filter, sort="number", limits=way)
    assert "".join(row.key for row in page.documents) == wanted
    assert page.cursor is None
    assert page.total == len(wanted)
    assert page.total_exact or way is not WAYS["few"]
    paged = [
        keys(at("orders"), filter=filter, sort="number", limit=1, offset=n, limits=way)[0]
        for n in range(len(wanted))
    ]
    assert "".join(paged) == wanted


@requirement("scope.store-query")
@pytest.mark.parametrize(("sort", "wanted"), ORDERINGS)
@pytest.mark.parametrize("filter", [{}, {"number": {"$gte": "a"}}], ids=["all", "filtered"])
def test_an_order_is_kept_over_pages(
    at: Open, way: Limits, sort: str, wanted: str, filter: dict[str, Any]
) -> None:
    store(at("orders"), *ORDERS)
    whole = keys(at("orders"), sort=sort, filter=filter, limits=way)
    assert "".join(whole)[: len(wanted)] == wanted
    assert sorted(whole) == list("abcde")
    found: list[str] = []
    cursor = None
    for _ in range(5):
        page = ask(at("orders"), sort=sort, filter=filter, limit=1, cursor=cursor, limits=way)
        found += [row.key for row in page.documents]
        cursor = page.cursor
    assert (found, cursor) == (whole, None)


def test_the_newest_come_first(at: Open) -> None:
    store(at("orders"), *ORDERS, order("b", "new"))
    assert keys(at("orders"))[0] == "b"


@requirement("scope.store-words")
def test_words_are_searched_in_this_partition_alone(at: Open, way: Limits) -> None:
    store(at("orders"), *ORDERS)
    store(at("orders", "other"), order("z", note="Handle"))
    assert keys(at("orders"), search="handle CARE", limits=way) == ["b"]
    assert keys(at("orders"), search="oslo or bergen", sort="number", limits=way) == ["c", "e"]
    assert keys(at("orders"), search="handle", filter={"state": "new"}, limits=way) == []
    assert keys(at("orders"), search="-") == []
    assert keys(at("orders", "nobody"), search="handle") == []
    assert keys(at("orders"), search="'); DROP TABLE x; --") == []


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ({"limit": 0}, "1 to 500"),
        ({"limit": 501}, "1 to 500"),
        ({"offset": -1}, '"offset"'),
        ({"offset": 10_001}, "cursor"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "W10="}, "cursor"),
        ({"filter": []}, "object"),
        ({"filter": {"a b": 1}}, "is not a path"),
        ({"filter": {"total": "9"}}, "is a number"),
        ({"filter": {"total": True}}, "is a number"),
        ({"filter": {"state": "gone"}}, "new, sent, lost"),
        ({"filter": {"placed": "yesterday"}}, "ISO 8601"),
        ({"filter": {"gift": "yes"}}, "true or false"),
        ({"filter": {"gift": {"$gt": True}}}, "no order"),
        ({"filter": {"note": "a\x00"}}, "no document can have"),
        ({"filter": {"total": {"$near": 1}}}, r"\$near"),
        ({"filter": {"total": {"$gt": 1, "x": 2}}}, "mixes"),
        ({"filter": {"total": {"$in": []}}}, "1 to 100"),
        ({"filter": {"total": {"$exists": 1}}}, "true or false"),
        ({"filter": {"total": {"$contains": "1"}}}, "part of a string"),
        ({"filter": {"tags": {"$contains": []}}}, "not empty"),
        ({"filter": {"total": {"$gt": 10**400}}}, "not JSON|no document"),
        ({"filter": {"total": {"$in": [1, 10**400]}}}, "no document"),
        ({"filter": {"other": {"$in": [{"a": [10**400]}]}}}, "no document"),
        ({"filter": {f"f{n}": 1 for n in range(21)}}, "at most 20"),
        ({"sort": "a b"}, "is not a path"),
        ({"sort": "$version"}, "no order"),
        ({"search": "x" * 1001}, "1000"),
    ],
)
def test_a_question_that_means_nothing_is_refused(
    at: Open, question: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadQuery, match=named):
        ask(at("orders"), **question)


def test_a_cursor_of_another_order_is_refused(at: Open) -> None:
    store(at("orders"), *ORDERS)
    cursor = ask(at("orders"), sort="total", limit=1).cursor
    with pytest.raises(BadQuery, match='belongs to the order "total"'):
        ask(at("orders"), sort="-total", cursor=cursor)


def test_what_has_no_index_is_told(at: Open) -> None:
    store(at("orders"), *ORDERS)
    (note,) = ask(at("orders"), filter={"stat": "new"}).notes
    assert '"stat" is not declared' in note
    assert 'did you mean "state"?' in note
    assert ask(at("orders"), filter={"state": "new"}, sort="address.city").notes == []


@requirement("scope.store-timeout")
@pytest.mark.django_db(transaction=True)
def test_a_query_that_takes_too_long_says_what_to_declare(transactional_db: None, at: Open) -> None:
    place = at("orders")
    with psycopg.connect(test_database_url()) as other:
        other.execute("LOCK TABLE stores_app_document")
        with pytest.raises(SlowQuery, match=r'"lines\.0\.sku" is not declared.*Declare it'):
            ask(place, sort="lines.0.sku", limits=Limits(timeout_ms=20))
        with pytest.raises(SlowQuery, match=r"0\.02 seconds\. Filter by more fields"):
            ask(place, limits=Limits(timeout_ms=20))
    assert ask(place).total == 0


def test_long_strings_are_compared_whole(at: Open, way: Limits) -> None:
    place = at("orders")
    store(place, order("1", note="x" * 300 + "a"), order("2", note="x" * 300 + "b"))
    assert keys(place, filter={"note": "x" * 300 + "b"}, limits=way) == ["2"]
    assert keys(place, filter={"note": {"$gt": "x" * 300 + "a"}}, limits=way) == ["2"]


def test_a_scope_must_be_named(at: Open) -> None:
    with pytest.raises(TypeError):
        ask(at("orders", None))
