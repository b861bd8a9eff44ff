"""`ref` fields as rows: what a document points at must be there, and stays while it does.

Law: the foreign key in the database is the proof; what is asked here only words the refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection

from agentsite.manifest.stores import FieldSpec, StoreSpec
from stores_app.errors import InvalidDocument
from stores_app.models import Document, Reference
from stores_app.places import Place

SHOWN = 3


def find_refs(
    fields: dict[str, FieldSpec], payload: dict[str, Any], at: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield path, store and key of every reference in a checked payload."""
    for name, field in fields.items():
        yield from _refs_of(field, payload.get(name), f"{at}{name}")


def _refs_of(field: FieldSpec, value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if value is None:
        return
    if field.store is not None:
        yield path, field.store, value
    elif field.item is not None:
        for place, item in enumerate(value):
            yield from _refs_of(field.item, item, f"{path}[{place}]")
    elif field.fields is not None:
        yield from find_refs(field.fields, value, f"{path}.")


def has_refs(spec: StoreSpec) -> bool:
    """Whether any field, however deep, may point at a document."""
    pending: Sequence[FieldSpec] = tuple(spec.entity.fields.values())
    while pending:
        if any(field.store is not None for field in pending):
            return True
        inner = [item for field in pending for item in (field.fields or {}).values()]
        pending = (*inner, *(field.item for field in pending if field.item is not None))
    return False


ITSELF = 0
"""Stands for the id of a document that is about to be written."""


def resolve_refs(place: Place, payload: dict[str, Any], key: str) -> list[int]:
    """Ids of the documents a payload points at, `ITSELF` for one that points at itself.

    In a transaction of the partition. Raises `InvalidDocument` for those that do not exist.
    """
    ids: dict[tuple[str, str], int | None] = {}
    problems = []
    for path, store, wanted in find_refs(place.spec.entity.fields, payload):
        if (store, wanted) not in ids:
            ids[store, wanted] = _find_target(place, store, wanted, key)
        if ids[store, wanted] is None:
            problem = f'names "{wanted}", which store "{store}" does not have'
            problems.append({"field": path, "problem": problem})
    if problems:
        raise InvalidDocument(place.name, problems)
    return [id_ for id_ in ids.values() if id_ is not None]


def _find_target(place: Place, store: str, wanted: str, key: str) -> int | None:
    target = place.neighbour(store)
    rows = Document.objects.of_store(place.agent, target.scope_id, store)
    found: int | None = rows.filter(key=wanted).values_list("id", flat=True).first()
    if found is None and (store, wanted) == (place.name, key):
        return ITSELF
    return found


def write_refs(scope_id: str, source: int, targets: list[int]) -> None:
    """Replace what a document points at. The foreign key refuses targets that are gone."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM stores_app_reference WHERE source_id = %s", [source])
        if targets:
            cursor.execute(
                "INSERT INTO stores_app_reference (scope_id, source_id, target_id)"
                " SELECT %s, %s, unnest(%s::bigint[])",
                [scope_id, source, [source if id_ == ITSELF else id_ for id_ in targets]],
            )


def name_referrers(place: Place, document_id: int) -> str:
    """Which documents of the caller's own scope point at one: for a refusal."""
    rows = Reference.objects.for_scope(place.caller_scope).filter(target_id=document_id)
    found = rows.exclude(source_id=document_id).values_list("source__store", "source__key")
    named = [f"{store}/{key}" for store, key in found[: SHOWN + 1]]
    if not named:
        return "other documents"
    return ", ".join(named[:SHOWN]) + (" and others" if len(named) > SHOWN else "")
