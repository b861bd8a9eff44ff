"""One validation for whoever writes: every defect at once, each named."""

from __future__ import annotations

from typing import Any

import pytest

from agentsite.manifest.stores import StoreSpec
from stores_app.errors import InvalidDocument
from stores_app.lifetime import find_ttl
from stores_app.validation import MAX_BYTES, check_document
from tests.requirements import requirement
from tests.stores_app.conftest import make_specs, order

CUSTOMERS, ORDERS, VISITS, RATES = make_specs()


@requirement("scope.store-validation")
@pytest.mark.parametrize(
    ("payload", "field", "problem"),
    [
        ({"state": "new"}, "number", "is required"),
        (order("1", None), "state", "must not be null"),  # type: ignore[arg-type]  # on purpose
        (order("1", "gone"), "state", "must be one of new, sent, lost"),
        (order("1", colour="red"), "colour", "is not a field"),
        (order("1", totl=1), "totl", 'did you mean "total"?'),
        (order("1", total="9"), "total", "must be a number"),
        (order("1", total=True), "total", "must be a number"),
        (order("1", total=-1), "total", "must be at least 0"),
        (order("1", total=1e10), "total", "must be at most 1000000000"),
        (order("1", total=10**400), "total", "cannot be stored|can be stored"),
        (order("1", total=float("nan")), "total", "can be stored"),
        (order("1", gift=1), "gift", "must be true or false"),
        (order("1", placed="2026-02-30"), "placed", "ISO 8601"),
        (order("1", placed="now"), "placed", "ISO 8601"),
        (order("1", placed=5), "placed", "must be a string"),
        (order("1", note="a\x00"), "note", "null character"),
        (order("1", note="\ud800"), "note", "half a character"),
        (order("1", address="Oslo"), "address", "must be an object"),
        (order("1", address={}), "address.city", "is required"),
        (order("1", address={"city": "x", "zip": 1}), "address.zip", "is not a field"),
        (order("1", tags="red"), "tags", "must be a list"),
        (order("1", tags=["a", 1]), "tags[1]", "must be a string"),
        (order("1", tags=[None]), "tags[0]", "must not be null"),
        (order("1", lines=[{"sku": "a"}]), "lines[0].qty", "is required"),
        (order("1", customer=7), "customer", "must be the key of a document"),
        (order(""), "number", "part of the key"),
        (order("x" * 501), "number", "more than 500 characters"),
        (order("a\nb"), "number", "control characters"),
        (order("1", note="x" * MAX_BYTES), "payload", "bytes"),
        (["no"], "payload", "must be an object"),
    ],
)
def test_a_document_that_does_not_fit_is_told_where(payload: Any, field: str, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=problem) as caught:
        check_document(ORDERS, payload)
    assert caught.value.details[0]["field"] == field


def test_all_defects_are_told_at_once() -> None:
    with pytest.raises(InvalidDocument) as caught:
        check_document(ORDERS, {"state": "gone", "total": -1, "zzz": 1})
    fields = {each["field"] for each in caught.value.details}
    assert fields == {"zzz", "number", "state", "total"}


def test_what_may_be_null_may_be_left_out() -> None:
    key, clean = check_document(ORDERS, order("7", address={"city": "Oslo"}))
    assert key == "7"
    assert set(clean) == set(ORDERS.entity.fields)
    assert clean["address"] == {"city": "Oslo", "floor": None}


@requirement("scope.store-key")
def test_keys_are_made_of_values() -> None:
    fields = {
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "d": {"type": "datetime", "nullable": True},
    }
    entity = {"name": "T", "key": "k/{n}:{b}:{d}", "schema": fields}
    spec = StoreSpec.model_validate({"name": "t", "entity": entity})
    day = "2026-01-01"
    assert check_document(spec, {"n": 5.0, "b": False, "d": day})[0] == f"k/5:false:{day}"
    with pytest.raises(InvalidDocument, match='"d" is a part of the key'):
        check_document(spec, {"n": 5, "b": True})


@requirement("scope.store-ttl")
@pytest.mark.parametrize(
    ("state", "seconds"),
    [("short", 1), ("long", 600), ("longer", 600), ("other", 60), (None, 60)],
)
def test_the_first_condition_that_fits_decides_the_time_to_live(
    state: str | None, seconds: int
) -> None:
    assert find_ttl(VISITS, {"who": "a", "day": "b", "state": state}) == seconds


def test_conditions_may_exclude() -> None:
    ttl = {"override": [{"condition": "state != 'new'", "ttl": 5}]}
    spec = StoreSpec.model_validate({**ORDERS.model_dump(by_alias=True), "ttl": ttl})
    assert find_ttl(spec, order("1", "sent")) == 5
    assert find_ttl(spec, order("1", "new")) is None
    assert find_ttl(RATES, {}) is None
