"""Many documents at once, and what becomes of them when some cannot be stored."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import transaction

from stores_app.actions import once, write, writing
from stores_app.deadletters import bury
from stores_app.errors import BatchFailed, InvalidDocument, StoreError
from stores_app.news import tell_change
from stores_app.places import Origin, Place
from stores_app.validation import check_document

MAX_BATCH = 500
SHOWN = 3
"""Errors that are told; all are counted."""


class Failed(msgspec.Struct, frozen=True):
    """One document that was not stored."""

    index: int
    error: str


def put_many(place: Place, items: list[Any], origin: Origin, *, call_id: str = "") -> Any:
    """Store documents in order, as `failure.mode` of the store says.

    Returns `{stored, failed, total, errors?}`, with `skip` also `skipped`. A call that is
    made again (`call_id`) gets its first answer. Raises `ReadOnlyStore`, `Unavailable`, or
    `BatchFailed` when an all-or-nothing batch left nothing behind.
    """
    place.require_writer()
    try:
        # What a failed batch has written is undone here, so that its burial can stay.
        with writing(place), transaction.atomic():
            if not call_id:
                return _put_all(place, items, origin)
            return once(place, call_id, lambda: _put_all(place, items, origin))
    except BatchFailed as error:
        if place.spec.failure.dead_letter:
            bury(place, items, str(error), origin)
        raise


def _put_all(place: Place, items: list[Any], origin: Origin) -> dict[str, Any]:
    failed = [
        Failed(index, problem)
        for index, item in enumerate(items)
        if (problem := _put_one(place, item, origin)) is not None
    ]
    mode = place.spec.failure.mode
    if failed and mode == "all-or-nothing":
        told = "; ".join(f"item {each.index}: {each.error}" for each in failed[:SHOWN])
        raise BatchFailed(f"Nothing was stored, {len(failed)} of {len(items)} failed. {told}")
    if place.spec.failure.dead_letter:
        for each in failed:
            item = items[each.index]
            bury(place, [item], each.error, origin.of_item(item))
    stored = len(items) - len(failed)
    if stored:
        tell_change(place, "batch", count=stored)
    result: dict[str, Any] = {"stored": stored}
    if mode == "skip":
        return {**result, "skipped": len(failed), "failed": 0, "total": len(items)}
    result |= {"failed": len(failed), "total": len(items)}
    if failed:
        result["errors"] = [msgspec.to_builtins(each) for each in failed[:SHOWN]]
    return result


def _put_one(place: Place, item: Any, origin: Origin) -> str | None:
    """Why a document was not stored; what it wrote is undone then."""
    try:
        key, payload = check_document(place.spec, item)
        with transaction.atomic():
            write(place, key, payload, origin.of_item(item))
    except InvalidDocument as error:
        return "; ".join(f'"{each["field"]}" {each["problem"]}' for each in error.details[:SHOWN])
    except StoreError as error:
        return str(error)
    return None
