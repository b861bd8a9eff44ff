"""Verbs on documents, each one transaction on behalf of one scope.

Law: rows of a key are locked before they are changed; what a verb refuses leaves nothing
behind. Whoever writes gives an origin, and a tool call's effect is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction

from agentsite.rows.tenancy import tenant
from stores_app import references
from stores_app.errors import (
    Conflict,
    DocumentNotFound,
    InvalidDocument,
    Unavailable,
    VersionConflict,
)
from stores_app.lifetime import find_ttl
from stores_app.models import Receipt
from stores_app.news import tell_change
from stores_app.places import COLUMNS, Origin, Place, Read, Stored, read_row, to_json
from stores_app.validation import check_document
from stores_app.vectors import request_vector

RAISE_FLOOR = "INSERT INTO stores_app_versionfloor AS f (scope_id, agent, store, version)"
KEEP_HIGHER = (
    "ON CONFLICT (scope_id, agent, store) DO UPDATE SET version = excluded.version"
    " WHERE f.version < excluded.version"
)
RACES = 5
"""How often a write that met another new document of its key begins again."""


def put(
    place: Place, payload: Any, origin: Origin, *, if_version: int | None = None, key: str = ""
) -> Stored:
    """Store a document under the key its fields make; it replaces the one that is there.

    `if_version` must be the newest version, 0 for none; `key` the one that is expected.
    Raises `ReadOnlyStore`, `InvalidDocument`, `Conflict` or `Unavailable`.
    """
    place.require_writer()
    made, clean = check_document(place.spec, payload)
    if key and made != key:
        problem = f'makes the key "{made}", not "{key}"'
        field = place.spec.entity.key_fields[0]
        raise InvalidDocument(place.name, [{"field": field, "problem": problem}])
    with writing(place):
        stored = write(place, made, clean, origin, if_version)
        tell_change(place, "put", key=made)
    return stored


@contextmanager
def writing(place: Place) -> Iterator[None]:
    """A transaction of the caller's scope whose transient failures say that they are."""
    try:
        with tenant(place.caller_scope):
            yield
    except OperationalError as error:
        text = f'Store "{place.name}" could not be reached just now. Try again in a moment.'
        raise Unavailable(text) from error


def once(place: Place, call_id: str, write_all: Callable[[], Any]) -> Any:
    """What a call's writes gave, as JSON values; they are made the first time only.

    In a transaction: the receipt goes with the writes or not at all.
    """
    rows = Receipt.objects.for_scope(place.caller_scope).filter(agent=place.agent)
    found = rows.filter(call_id=call_id).values_list("result", flat=True).first()
    if found is not None:
        return found
    result = write_all()
    Receipt(agent=place.agent, scope_id=place.caller_scope, call_id=call_id, result=result).save(
        force_insert=True
    )
    return result


def write(
    place: Place, key: str, payload: dict[str, Any], origin: Origin, if_version: int | None = None
) -> Stored:
    """Store a checked payload, in a transaction of its scope. Raises as `put` does."""
    for _ in range(RACES):
        old = lock(place, key)
        check_version(key, if_version, old)
        targets = _find_targets(place, payload, key)
        trace = to_json(origin) if place.spec.trace else None
        ttl = find_ttl(place.spec, payload)
        if old is None:
            stored = _insert(place, key, payload, trace, ttl)
        else:
            _check_clash(place, old, payload)
            stored = _update(place, old, payload, trace, ttl)
        if stored is not None:
            document_id, result = stored
            if targets is not None:
                _point(place, document_id, targets)
            if place.spec.embed:
                request_vector(place, document_id, payload)
            return result
    raise Unavailable(f'Many write to "{key}" of store "{place.name}" at once. Try again.')


def lock(place: Place, key: str) -> Read | None:
    """The document as it is until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM stores_app_document d WHERE d.scope_id = %s AND d.agent = %s"  # noqa: S608 - constant
            " AND d.store = %s AND d.key = %s FOR UPDATE",
            [place.scope_id, place.agent, place.name, key],
        )
        row = cursor.fetchone()
    return row and read_row(row)


def check_version(key: str, if_version: int | None, old: Read | None) -> None:
    """Raises `VersionConflict` when another version is the newest."""
    newest = old.version if old else 0
    if if_version is not None and if_version != newest:
        raise VersionConflict(key, if_version, newest)


def _check_clash(place: Place, old: Read, payload: dict[str, Any]) -> None:
    """Two different documents may make one key: `a-b` and `c`, `a` and `b-c`."""
    for name in place.spec.entity.key_fields:
        was = old.payload.get(name)
        if was is not None and was != payload[name]:
            raise Conflict(
                f'The key "{old.key}" belongs to another document, whose "{name}" is {was!r}.'
                " Choose values that tell the two apart."
            )


def _insert(
    place: Place, key: str, payload: dict[str, Any], trace: str | None, ttl: int | None
) -> tuple[int, Stored] | None:
    partition = [place.scope_id, place.agent, place.name, key]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stores_app_document"
            " (scope_id, agent, store, key, payload, trace, shared, expires_at, version)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s,"
            "  statement_timestamp() + %s * interval '1 second',"
            # A deleted document's numbers are not given out again.
            "  (SELECT greatest(0, max(known.version)) + 1 FROM ("
            "   SELECT version FROM stores_app_documentversion"
            "    WHERE scope_id = %s AND agent = %s AND store = %s AND key = %s UNION ALL"
            "   SELECT version FROM stores_app_versionfloor"
            "    WHERE scope_id = %s AND agent = %s AND store = %s) known))"
            " ON CONFLICT (scope_id, agent, store, key) DO NOTHING RETURNING id, version",
            [*partition, to_json(payload), trace, place.spec.shared, ttl, *partition,
             *partition[:3]],
        )  # fmt: skip
        row = cursor.fetchone()
    return row and (row[0], Stored(key, row[1]))


def _update(
    place: Place, old: Read, payload: dict[str, Any], trace: str | None, ttl: int | None
) -> tuple[int, Stored]:
    archive(place, old)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE stores_app_document SET version = version + 1, payload = %s, trace = %s,"
            " shared = %s, updated_at = statement_timestamp(),"
            " expires_at = statement_timestamp() + %s * interval '1 second'"
            " WHERE id = %s RETURNING version",
            [to_json(payload), trace, place.spec.shared, ttl, old.id],
        )
        version = cursor.fetchone()[0]
    return old.id, Stored(old.key, version, old.version)


def archive(place: Place, old: Read, *, deleted: bool = False) -> None:
    """Keep a superseded version, and of all of them as many as the store says."""
    kept = place.spec.history.versions
    if not kept:
        return
    partition = [place.scope_id, place.agent, place.name, old.key]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH kept AS (INSERT INTO stores_app_documentversion"
            " (scope_id, agent, store, key, version, payload, trace, shared, written_at, deleted)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s))"
            " DELETE FROM stores_app_documentversion WHERE scope_id = %s AND agent = %s"
            " AND store = %s AND key = %s AND version <= %s",
            [*partition, old.version, to_json(old.payload),
             None if old.trace is None else to_json(old.trace), place.spec.shared,
             old.updated_at, deleted, *partition, old.version - kept],
        )  # fmt: skip


def raise_floor(place: Place, version: int) -> None:
    """Let no document that is new in the store begin with this version or one below."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{RAISE_FLOOR} VALUES (%s, %s, %s, %s) {KEEP_HIGHER}",
            [place.scope_id, place.agent, place.name, version],
        )


def _find_targets(place: Place, payload: dict[str, Any], key: str) -> list[int] | None:
    if not references.has_refs(place.spec):
        return None
    return references.resolve_refs(place, payload, key)


def _point(place: Place, document_id: int, targets: list[int]) -> None:
    try:
        references.write_refs(place.scope_id, document_id, targets)
    except IntegrityError as error:
        raise Conflict("A document it refers to has just been deleted.") from error


def delete(place: Place, key: str, *, if_version: int | None = None) -> None:
    """Delete a document; with `history.versions` its last version is kept among them.

    Raises `ReadOnlyStore`, `DocumentNotFound`, `Conflict` or `Unavailable`.
    """
    place.require_writer()
    with writing(place):
        remove(place, key, if_version)


def remove(place: Place, key: str, if_version: int | None = None) -> None:
    """Delete a document, in a transaction of its scope. Raises as `delete` does."""
    old = None if "\x00" in key else lock(place, key)
    if old is None:
        raise DocumentNotFound(place.name, key)
    check_version(key, if_version, old)
    archive(place, old, deleted=True)
    if not place.spec.history.versions:
        raise_floor(place, old.version)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM stores_app_document WHERE id = %s", [old.id])
    except IntegrityError as error:
        named = references.name_referrers(place, old.id)
        raise Conflict(f'Document "{key}" is still referred to by {named}.') from error
    tell_change(place, "delete", key=key)
