"""What the event bus is told of conversations; part of the transaction that changes them.

Law: agent and scope of an event are those of its session's row, read where it is written. Of
replays and evals staff alone is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from agentsite.bus.catalogue import AnyBusEvent
from agentsite.bus.writing import INTO_BUS, columns
from agentsite.rows.together import Together

AUDIENCE = "CASE WHEN s.session_type IN ('replay', 'eval') THEN 'staff' ELSE 'scope' END"
INSERT = (
    f"{INTO_BUS} SELECT {AUDIENCE}, s.agent,"  # noqa: S608 - our own words
    " s.scope_id, e.type, e.data FROM sessions_app_session s"
    " CROSS JOIN unnest(%s::text[], %s::text[]) e(type, data) WHERE s.id = %s"
)
INSERT_EACH = (
    f"{INTO_BUS} SELECT {AUDIENCE}, s.agent,"  # noqa: S608 - our own words
    " s.scope_id, 'session_updated', json_build_object("
    "  'type', 'session_updated', 'sessionId', s.id, 'status', s.status)"
    " FROM sessions_app_session s WHERE s.id = ANY(%s)"
)


def say(together: Together, session_id: str, *events: AnyBusEvent) -> None:
    """Add events of a session to what is sent together; nothing if it does not exist."""
    together.say(INSERT, [*columns(events), session_id])


def tell(session_id: str, *events: AnyBusEvent) -> None:
    """The same at once, inside the change's transaction."""
    together = Together()
    say(together, session_id, *events)
    together.send()


def tell_statuses(session_ids: Sequence[str]) -> None:
    """The status of many sessions has changed."""
    if session_ids:
        together = Together()
        together.say(INSERT_EACH, [list(session_ids)])
        together.send()


def close_questions(status: str, those: str, *values: Any) -> int:
    """Close open questions and tell of each; `those` is a condition of our own on their rows.

    One statement, as most runs end without having asked anything. Returns how many it closed.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH closed AS (UPDATE sessions_app_interaction SET status = %s,"  # noqa: S608
            f"  answered_at = statement_timestamp() WHERE status = 'open' AND {those}"
            "  RETURNING id, session_id, run_id, status)"
            f" {INTO_BUS}"
            f" SELECT {AUDIENCE}, s.agent, s.scope_id, 'interaction_closed', json_build_object("
            "  'type', 'interaction_closed', 'interactionId', c.id, 'sessionId', c.session_id,"
            "  'runId', c.run_id, 'status', c.status)"
            " FROM closed c JOIN sessions_app_session s ON s.id = c.session_id",
            [status, *values],
        )
        return int(cursor.rowcount)
