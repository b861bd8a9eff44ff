"""Vectors of documents: what waits for one, and what is near to one.

Law: a vector belongs to the text it was made of (`text_hash`) and the model that made it; any
other is as good as none. Embedding itself happens outside of transactions (`host.embedding`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from django.db import connection

from agentsite.manifest.stores import StoreSpec
from agentsite.rows.tenancy import tenant
from stores_app.compiling import LIVE, TABLE, Sql, join, partition, predicate
from stores_app.conditions import read_filter
from stores_app.errors import BadQuery
from stores_app.places import COLUMNS, WIDTH, Place, Read, as_json, read_row

CLAIM_SECONDS = 60
LONGEST_PAUSE = 300
BACKFILL = 1_000
CANDIDATES = 400
"""Near documents that are held against a filter."""
MAX_TEXT = 8_000
"""Characters of a document that count."""
MAX_NEAR = 100


class Waiting(msgspec.Struct, frozen=True):
    """A document that was claimed to be embedded."""

    document_id: int
    scope_id: str
    text: str
    text_hash: str


class Near(msgspec.Struct, frozen=True):
    """A document, and how near it is: 1 is the same direction."""

    document: Read
    similarity: float


def text_of(spec: StoreSpec, payload: Mapping[str, Any]) -> str:
    """What of a document is embedded; empty when its fields are."""
    found = (payload.get(name) for name in spec.embed)
    return "\n\n".join(text for text in found if isinstance(text, str) and text)[:MAX_TEXT]


def request_vector(place: Place, document_id: int, payload: Mapping[str, Any]) -> None:
    """Have a document that was just written embedded, unless its text is the old one."""
    text = text_of(place.spec, payload)
    shared, text_hash = place.spec.shared, digest(text)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH moved AS (UPDATE stores_app_documentvector SET shared = %s"
            "  WHERE document_id = %s AND text_hash = %s AND shared <> %s)"
            " INSERT INTO stores_app_documentvector AS v (document_id, scope_id, agent, store,"
            " shared, text_hash, model, attempts, next_try_at, problem)"
            " VALUES (%s, %s, %s, %s, %s, %s, '', 0, statement_timestamp(), '')"
            " ON CONFLICT (document_id) DO UPDATE SET text_hash = excluded.text_hash,"
            "  shared = excluded.shared, vector = NULL, bits = NULL, attempts = 0,"
            "  next_try_at = excluded.next_try_at,"
            "  problem = '' WHERE v.text_hash <> excluded.text_hash",
            [shared, document_id, text_hash, shared,
             document_id, place.scope_id, place.agent, place.name, shared, text_hash],
        )  # fmt: skip


def digest(text: str) -> str:
    """The name of a text; none of an empty one, which gets no vector."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def backfill(agent: str, specs: Iterable[StoreSpec]) -> int:
    """Note documents that were written before their store asked for vectors; how many."""
    total = 0
    for spec in (spec for spec in specs if spec.embed):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO stores_app_documentvector (document_id, scope_id, agent, store,"
                " shared, text_hash, model, attempts, next_try_at, problem)"
                " SELECT d.id, d.scope_id, d.agent, d.store, d.shared, '?', '', 0, now(), ''"
                " FROM stores_app_document d WHERE d.agent = %s AND d.store = %s AND NOT EXISTS ("
                "  SELECT 1 FROM stores_app_documentvector v WHERE v.document_id = d.id)"
                " LIMIT %s ON CONFLICT (document_id) DO NOTHING",
                [agent, spec.name, BACKFILL],
            )
            total += cursor.rowcount
    return total


def claim(agent: str, spec: StoreSpec, model: str, most: int) -> list[Waiting]:
    """Take documents of a store, of any scope, that wait for a vector of this model."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE stores_app_documentvector v SET attempts = v.attempts + 1,"
            " next_try_at = now() + %s * interval '1 second'"
            " FROM stores_app_document d WHERE d.id = v.document_id AND v.document_id IN ("
            "  SELECT document_id FROM stores_app_documentvector WHERE agent = %s AND store = %s"
            "   AND text_hash <> '' AND (vector IS NULL OR model <> %s) AND next_try_at <= now()"
            "   ORDER BY next_try_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING d.id, d.scope_id, d.payload",
            [CLAIM_SECONDS, agent, spec.name, model, most],
        )
        rows = cursor.fetchall()
    texts = ((int(key), scope, text_of(spec, as_json(payload))) for key, scope, payload in rows)
    return [Waiting(key, scope, text, digest(text)) for key, scope, text in texts]


def keep(waiting: Sequence[Waiting], vectors: Sequence[Sequence[float]], model: str) -> None:
    """Store vectors; of a document that has changed meanwhile it is dropped."""
    with connection.cursor() as cursor:
        for each, vector in zip(waiting, vectors, strict=True):
            cursor.execute(
                "UPDATE stores_app_documentvector SET vector = %s::float4[],"
                " bits = stores_bits(%s::float4[]), text_hash = %s, model = %s, attempts = 0,"
                " problem = '' WHERE document_id = %s AND text_hash IN (%s, '?')",
                [list(vector), list(vector), each.text_hash, model, each.document_id,
                 each.text_hash],
            )  # fmt: skip


def forget(waiting: Sequence[Waiting]) -> None:
    """These have no text after all."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE stores_app_documentvector SET text_hash = '' WHERE document_id = ANY(%s)",
            [[each.document_id for each in waiting]],
        )


def give_back(waiting: Sequence[Waiting], problem: str) -> None:
    """Try these again later, each time after a longer pause."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE stores_app_documentvector SET problem = left(%s, 500), next_try_at = now()"
            "  + least(%s, power(2, least(attempts, 20))) * interval '1 second'"
            " WHERE document_id = ANY(%s)",
            [problem, LONGEST_PAUSE, [each.document_id for each in waiting]],
        )


def count_pending(place: Place) -> int:
    """How many documents of a store have no vector yet, counted up to `BACKFILL`."""
    with tenant(place.caller_scope), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT 1 FROM stores_app_documentvector WHERE scope_id = %s"
            " AND agent = %s AND store = %s AND vector IS NULL AND text_hash <> '' LIMIT %s) w",
            [place.scope_id, place.agent, place.name, BACKFILL],
        )
        return int(cursor.fetchone()[0])


def list_near(
    place: Place, vector: Sequence[float], model: str, filter: Any, limit: int
) -> list[Near]:
    """The nearest documents that meet a filter, the nearest first. Raises `BadQuery`."""
    if not 1 <= limit <= MAX_NEAR:
        raise BadQuery(f'"limit" must be from 1 to {MAX_NEAR} with "similar"')
    told = [predicate(each) for each in read_filter(place.spec, {} if filter is None else filter)]
    # Of a few candidates all may have expired or be other than asked for; then many are looked at.
    for most in (CANDIDATES,) if told else (limit, CANDIDATES):
        found = _list_near(place, vector, model, told, limit, most)
        if len(found) == limit:
            break
    return found


def _list_near(
    place: Place, vector: Sequence[float], model: str, told: list[Sql], limit: int, most: int
) -> list[Near]:
    near = Sql(
        "stores_nearest(%s, %s, %s, %s::float4[], %s, %s) n(document_id, similarity)",
        (place.agent, place.name, place.spec.shared, list(vector), model, most),
    )
    sql = Sql(f"SELECT {COLUMNS}, n.similarity FROM") + near
    sql = sql + f"JOIN {TABLE} d ON d.id = n.document_id WHERE"
    sql = sql + join("AND", [partition(place), Sql(LIVE.format("d")), *told])
    sql = sql + Sql("ORDER BY n.similarity DESC, d.id LIMIT %s", (limit,))
    with tenant(place.caller_scope), connection.cursor() as cursor:
        cursor.execute(sql.text, list(sql.params))
        return [Near(read_row(row), round(float(row[WIDTH]), 4)) for row in cursor.fetchall()]
