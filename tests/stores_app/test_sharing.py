"""A store that is shared from now on, or no longer, with documents from before."""

from __future__ import annotations

import datetime as dt

from django.db import connection

from stores_app.models import Document, DocumentVector, DocumentVersion
from stores_app.reading import get, read_history
from stores_app.sharing import follow_shared
from stores_app.vectors import claim, keep, list_near
from tests.stores_app.conftest import Open, keys, make_specs, order, store

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
EMBEDDED = {"embed": ["code"], "history": {"versions": 2}}


def rows(model: type[Document | DocumentVersion | DocumentVector]) -> dict[str, bool]:
    return dict(model.objects.values_list("scope_id", "shared").distinct())


def test_what_was_there_before_follows_its_store(at: Open) -> None:
    private = {**EMBEDDED, "shared": False}
    for scope in ("", "acme"):
        place = at("rates", scope=scope, rates=private)
        store(place, {"code": "a", "rate": 1}, {"code": "a", "rate": 2}, {"code": "b"})
    tenant = at("rates", rates=EMBEDDED)
    assert keys(tenant) == []
    assert follow_shared("other", make_specs(rates=EMBEDDED)) == 0
    assert follow_shared("desk", make_specs(rates=EMBEDDED)) == 5
    for model in (Document, DocumentVersion, DocumentVector):
        assert rows(model) == {"": True, "acme": False}, "a tenant's own are never shared"
    assert keys(tenant, filter={"rate": {"$gte": 1}}) == ["a"]
    assert get(tenant, "b") is not None
    assert len(read_history(tenant, "a")[1]) == 1
    assert follow_shared("desk", make_specs(rates=EMBEDDED)) == 0
    assert follow_shared("desk", make_specs(rates=private)) == 5
    for model in (Document, DocumentVersion, DocumentVector):
        assert rows(model) == {"": False, "acme": False}
    assert keys(tenant) == []


def test_a_document_that_is_written_again_is_shared_with_its_vector(at: Open) -> None:
    store(at("rates", scope="", rates={**EMBEDDED, "shared": False}), {"code": "a"})
    DocumentVector.objects.update(next_try_at=LONG_AGO)
    (waiting,) = claim("desk", at("rates", rates=EMBEDDED).spec, "m", 5)
    keep([waiting], [[1.0, 0.0]], "m")
    store(at("rates", scope="", rates=EMBEDDED), {"code": "a", "rate": 3})
    assert rows(DocumentVector) == {"": True}
    near = list_near(at("rates", rates=EMBEDDED), [1.0, 0.0], "m", None, 1)
    assert [each.document.payload["rate"] for each in near] == [3]


def test_the_nearest_that_lives_is_found_behind_those_that_expired(at: Open) -> None:
    place = at("orders", orders={"embed": ["note"]})
    store(place, *(order(str(number), note=f"n{number}") for number in range(4)))
    DocumentVector.objects.update(next_try_at=LONG_AGO)
    waiting = sorted(claim("desk", place.spec, "m", 9), key=lambda each: each.text)
    keep(waiting, [[1.0, number / 10] for number in range(4)], "m")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stores_app_document SET expires_at = now() WHERE key < '3'")
    near = list_near(place, [1.0, 0.0], "m", None, 2)
    assert [each.document.key for each in near] == ["3"]
