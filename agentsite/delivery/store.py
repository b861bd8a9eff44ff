"""A store of the agent as a target: the result becomes a document, by the store's own rules."""

from __future__ import annotations

from typing import Any

from django.db import OperationalError

from agentsite.delivery.base import Outcome, Outgoing, again, dead
from agentsite.delivery.templates import render, values_of
from agentsite.rows.tenancy import acting_for
from agentsite.rows.units import unit
from stores_app.actions import once, put, writing
from stores_app.errors import StoreError, Unavailable
from stores_app.places import Origin, Place, find_place


async def send(outgoing: Outgoing) -> Outcome:
    """Store the answer's JSON, or what is told of the run; once, however often it is sent."""
    try:
        with acting_for(outgoing.scope_id):
            await unit(_store, outgoing)
    except (Unavailable, OperationalError):
        return again("The store could not be reached.")
    except StoreError as error:
        return dead(str(error))
    return Outcome()


def _store(outgoing: Outgoing) -> None:
    name = outgoing.target["store"]
    place = find_place(outgoing.agent, outgoing.scope_id, outgoing.stores, name)
    document = compose(outgoing, place)
    origin = Origin("automation", outgoing.session_id, outgoing.run_id, outgoing.id)

    def write() -> dict[str, Any]:
        stored = put(place, document, origin)
        return {"key": stored.key, "version": stored.version}

    with writing(place):
        once(place, outgoing.id, write)


def compose(outgoing: Outgoing, place: Place) -> dict[str, Any]:
    """The document: `data` of the payload if there is any, else the payload itself.

    The target's `key` is a template for the field that makes the key, where the answer has none.
    """
    payload, fields = outgoing.payload, place.spec.entity.key_fields
    document = dict(payload.get("data", payload))
    template = outgoing.target.get("key")
    if template is not None and len(fields) == 1 and fields[0] not in document:
        document[fields[0]] = render(template, values_of(payload), outgoing.automation)
    return document
