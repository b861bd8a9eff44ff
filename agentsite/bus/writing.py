"""Putting events on the bus, in the transaction that makes the change.

Law: never before the commit and never lost with it; a trigger wakes the readers.
"""

from __future__ import annotations

from agentsite.bus.catalogue import AnyBusEvent, encode, type_of
from agentsite.rows.together import Together

INTO_BUS = "INSERT INTO bus_busevent (audience, agent, scope_id, type, data)"
"""What a statement begins with that writes events itself, beside what they tell of."""
GIVEN = " SELECT %s, %s, %s, e.type, e.data FROM unnest(%s::text[], %s::text[]) e(type, data)"


def tell(agent: str, scope_id: str, *events: AnyBusEvent, audience: str = "scope") -> None:
    """Write events of a scope; of one round trip. Inside the change's transaction."""
    together = Together()
    together.say(INTO_BUS + GIVEN, [audience, agent, scope_id, *columns(events)])
    together.send()


def columns(events: tuple[AnyBusEvent, ...]) -> tuple[list[str], list[str]]:
    """Types and data, for `unnest`."""
    return [type_of(event) for event in events], [encode(event).decode() for event in events]
