"""How tools reach stores: the partition of their call, off the event loop, in units.

Law: the place is made from the context alone; no argument can name another scope. What a
store refuses is told to the model in the store's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec
from django.db import OperationalError

from agentsite.manifest.stores import Failure
from agentsite.rows.units import unit
from agentsite.tools.base import ToolContext, ToolError
from stores_app.actions import once, put, remove, writing
from stores_app.batches import put_many
from stores_app.deadletters import bury
from stores_app.errors import BatchFailed, StoreError, Unavailable
from stores_app.places import Origin, Place, find_place

T = TypeVar("T")
BACKOFF_S = 0.2
"""The first pause between two tries of a store that wants several."""


def open_store(context: ToolContext, name: str) -> Place:
    """A store as the call's scope sees it. Raises `ToolError` when there is none."""
    try:
        return find_place(context.agent, context.scope_id, context.bundle.stores, name)
    except StoreError as error:
        known = ", ".join(spec.name for spec in context.bundle.stores) or "none"
        raise ToolError(f"{error}. Stores: {known}") from error


async def ask_async(work: Awaitable[T]) -> T:
    """The same for what awaits by itself."""
    try:
        return await work
    except Unavailable as error:
        raise ToolError(str(error), transient=True) from error
    except StoreError as error:
        raise ToolError(str(error)) from error


async def ask(work: Callable[[], T]) -> T:
    """What `work` gives, in a unit. A refusal becomes a `ToolError`."""
    try:
        return await unit(work)
    except Unavailable as error:
        raise ToolError(str(error), transient=True) from error
    except StoreError as error:
        raise ToolError(str(error)) from error


def origin_of(context: ToolContext, arguments: dict[str, Any], source: str = "tool") -> Origin:
    """Who writes, for the store's trace."""
    return Origin(
        source, context.session_id, context.run_id, context.call_id, context.tool_name, arguments
    )


async def put_document(
    context: ToolContext, place: Place, payload: dict[str, Any], if_version: int | None
) -> dict[str, Any]:
    """Store one document, once for the call. Raises `ToolError`."""
    origin = origin_of(context, payload)

    def write() -> Any:
        with writing(place):
            stored = once(place, context.call_id, lambda: _put(place, payload, origin, if_version))
        return stored

    result: dict[str, Any] = await _try(place, write, [payload], origin)
    return result


def _put(
    place: Place, payload: dict[str, Any], origin: Origin, if_version: int | None
) -> dict[str, Any]:
    stored = put(place, payload, origin, if_version=if_version)
    return {"stored": True, **msgspec.to_builtins(stored)}


async def put_documents(context: ToolContext, place: Place, items: list[Any]) -> dict[str, Any]:
    """Store many documents, once for the call. Raises `ToolError`."""
    origin = origin_of(context, {})  # of each document its own arguments are kept

    def write() -> Any:
        try:
            return put_many(place, items, origin, call_id=context.call_id)
        except BatchFailed as error:
            return error  # raised behind the unit, which keeps what was buried

    result = await _try(place, write, items, origin)
    if isinstance(result, BatchFailed):
        raise ToolError(str(result)) from result
    return cast("dict[str, Any]", result)


async def store_for_handler(
    context: ToolContext, name: str, payload: Any, if_version: int | None
) -> dict[str, Any]:
    """`ctx.store`: a handler may store several documents in one call. Raises `ToolError`."""
    place = open_store(context, name)
    payload = context.redact(payload)
    arguments = payload if isinstance(payload, dict) else {}
    origin = origin_of(context, arguments, "handler")
    result: dict[str, Any] = await _try(
        place, lambda: _put(place, payload, origin, if_version), [payload], origin
    )
    return result


async def delete_document(
    context: ToolContext, place: Place, key: str, if_version: int | None
) -> dict[str, Any]:
    """Delete one document, once for the call. Raises `ToolError`."""

    def write() -> Any:
        place.require_writer()
        with writing(place):
            return once(place, context.call_id, _remove)

    def _remove() -> dict[str, Any]:
        remove(place, key, if_version)
        return {"deleted": True, "key": key}

    result: dict[str, Any] = await ask(write)
    return result


async def _try(place: Place, write: Callable[[], T], items: list[Any], origin: Origin) -> T:
    """Write, and write again as the store's `failure` says; what never works is buried."""
    failure = place.spec.failure
    for attempt in range(failure.retries):
        try:
            return await _write(write)
        except Unavailable:
            await asyncio.sleep(pause_before(failure, attempt))
    try:
        return await _write(write)
    except Unavailable as error:
        if not failure.dead_letter:
            raise ToolError(str(error), transient=failure.retries == 0) from error
        problem = str(error)
        await ask(lambda: bury(place, items, problem, origin))
        raise ToolError(f"{error} The operators can store it later.") from error


async def _write(write: Callable[[], T]) -> T:
    try:
        return await unit(write)
    except OperationalError as error:  # at the commit, when the verb itself was done
        text = "The stores could not be reached just now. Try again in a moment."
        raise Unavailable(text) from error
    except Unavailable:
        raise
    except StoreError as error:
        raise ToolError(str(error)) from error


def pause_before(failure: Failure, attempt: int) -> float:
    """Seconds before try number `attempt` + 2."""
    match failure.backoff:
        case "none":
            return 0.0
        case "linear":
            return BACKOFF_S * (attempt + 1)
        case "exponential":
            return float(BACKOFF_S * 2**attempt)
