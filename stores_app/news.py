"""What the event bus is told of documents; part of the transaction that changes them."""

from __future__ import annotations

from agentsite.bus.catalogue import StoreUpdated
from agentsite.bus.writing import tell
from stores_app.places import Place


def tell_change(place: Place, operation: str, *, key: str = "", count: int = 1) -> None:
    """Documents of a store have changed; everybody hears of what everybody may read."""
    audience = "everyone" if place.spec.shared else "scope"
    event = StoreUpdated(place.name, operation, key, count)
    tell(place.agent, place.scope_id, event, audience=audience)
