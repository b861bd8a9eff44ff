"""Documents that a store could not take: kept as they came, and stored later by staff."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from agentsite.rows.tenancy import tenant
from stores_app.actions import write, writing
from stores_app.errors import StoreError
from stores_app.models import DeadLetter
from stores_app.news import tell_change
from stores_app.places import Origin, Place
from stores_app.validation import UNSTORABLE, check_document


def bury(place: Place, items: list[Any], problem: str, origin: Origin) -> None:
    """Keep documents that belong together. In a transaction of the scope, or in its own."""
    with tenant(place.caller_scope):
        DeadLetter(
            agent=place.agent,
            scope_id=place.caller_scope,
            store=place.name,
            items=_storable(items),
            problem=UNSTORABLE.sub("\ufffd", problem),
            origin=_storable(msgspec.to_builtins(origin)),
        ).save(force_insert=True)


def _storable(value: Any) -> Any:
    """The value as any JSON column takes it."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {UNSTORABLE.sub("\ufffd", str(key)): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def replay(letter_id: int, scope_id: str, place: Place) -> str | None:
    """Store a letter's documents, all or none; returns why not, or None when it is done.

    `scope_id` is the letter's. It is replayed once, whoever else tries at the same time.
    """
    with transaction.atomic():
        rows = DeadLetter.objects.for_scope(scope_id).filter(pk=letter_id)
        letter = rows.select_for_update().filter(status=DeadLetter.Status.OPEN).first()
        if letter is None:
            return "it is not open any more"
        try:
            _store_all(place, letter)
        except StoreError as error:
            rows.update(problem=str(error), attempts=F("attempts") + 1)
            return str(error)
        rows.update(status=DeadLetter.Status.REPLAYED, settled_at=Now())
    return None


def _store_all(place: Place, letter: DeadLetter) -> None:
    origin = msgspec.convert(letter.origin, Origin, strict=False)
    origin = msgspec.structs.replace(origin, source="replay")
    with writing(place):
        for item in letter.items:
            key, payload = check_document(place.spec, item)
            write(place, key, payload, origin.of_item(item))
        tell_change(place, "batch", count=len(letter.items))


def discard(letter_ids: list[int]) -> int:
    """Settle open letters without storing them; returns how many."""
    rows = DeadLetter.objects.filter(pk__in=letter_ids, status=DeadLetter.Status.OPEN)
    return int(rows.update(status=DeadLetter.Status.DISCARDED, settled_at=Now()))
