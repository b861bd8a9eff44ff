"""The event log: append stretches of events, read them back in order.

Law: numbers are given out only from blocks that a committed write has reserved,
so a number that was sent and died with its process is never given out again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import connection

from agentsite.engine.events import AnyEvent, Entry
from agentsite.rows.together import Together
from sessions_app.models import EventBatch, Run, Session

BLOCK = 4096
CHANNEL = "agentsite_log"
NOTIFY_BYTES = 7000
TABLE = (
    "sessions_app_eventbatch (session_id, run_id, attempt, scope_id, first_seq, last_seq, entries)"
)
MANY = 8
"""So many stretches at once are worth a COPY."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Entry]).decode


class Stretch(msgspec.Struct, frozen=True):
    """Events of one session in order, to be committed together."""

    session_id: str
    run_id: str | None
    attempt: int
    scope_id: str
    entries: tuple[Entry, ...]


def append(stretches: list[Stretch]) -> None:
    """Insert, and wake the other processes after the commit. Inside a transaction.

    The database refuses a stretch whose attempt is not its run's (`IntegrityError`).
    """
    together = Together()
    if len(stretches) >= MANY:
        _copy(stretches)
        _say_news(together, stretches)
    elif stretches:
        say_append(together, stretches)
    together.send()


def _copy(stretches: list[Stretch]) -> None:
    """Insert many: one more round trip, but half the work, and on this side less than that."""
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(f"COPY {TABLE} FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(["text", "text", "int4", "text", "int8", "int8", "bytea"])
        for stretch in stretches:
            copy.write_row(_to_row(stretch))


def _to_row(stretch: Stretch) -> tuple[Any, ...]:
    entries = stretch.entries
    return (
        stretch.session_id,
        stretch.run_id,
        stretch.attempt,
        stretch.scope_id,
        entries[0].seq,
        entries[-1].seq,
        _encode(entries),
    )


def say_append(together: Together, stretches: list[Stretch]) -> None:
    """The same as part of what is sent together."""
    together.say(
        f"INSERT INTO {TABLE} SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[],"  # noqa: S608
        " %s::bigint[], %s::bigint[], %s::bytea[])",
        [list(column) for column in zip(*map(_to_row, stretches), strict=True)],
    )
    _say_news(together, stretches)


def _say_news(together: Together, stretches: list[Stretch]) -> None:
    for payload in _payloads(stretches):
        together.say("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


def _payloads(stretches: list[Stretch]) -> list[str]:
    """`session:last_seq` words, in as few payloads as the 8,000 byte limit allows."""
    payloads: list[str] = []
    words: list[str] = []
    size = 0
    for stretch in stretches:
        word = f"{stretch.session_id}:{stretch.entries[-1].seq}"
        if size + len(word) > NOTIFY_BYTES:
            payloads.append(" ".join(words))
            words, size = [], 0
        words.append(word)
        size += len(word) + 1
    payloads.append(" ".join(words))
    return payloads


def holds(stretch: Stretch) -> bool:
    """Whether exactly this stretch was committed."""
    return EventBatch.objects.filter(
        session_id=stretch.session_id,
        first_seq=stretch.entries[0].seq,
        last_seq=stretch.entries[-1].seq,
        attempt=stretch.attempt,
    ).exists()


def read(session_id: str, after: int, batches: int = 64) -> list[Entry]:
    """Committed events above `after`, in order, at most so many stretches."""
    rows = EventBatch.objects.after(session_id, after).values_list("entries", flat=True)
    return [entry for row in rows[:batches] for entry in _decode(bytes(row)) if entry.seq > after]


def first_seq(run_id: str) -> int:
    """Number of a run's `init`."""
    return int(Run.objects.values_list("first_seq", flat=True).get(pk=run_id))


def reserve(session_id: str) -> int:
    """Reserve a further block for the live run; returns its last number."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_session SET reserved_seq = reserved_seq + %s"
            " WHERE id = %s RETURNING reserved_seq",
            [BLOCK, session_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise Session.DoesNotExist(session_id)
    return int(row[0])


def append_beside_runs(session_id: str, at: int, event: AnyEvent) -> Entry | None:
    """Append an event of the session itself; None (nothing written) while a run is running.

    It holds the numbers, so only its owner can append then; a parked one has given them back.
    Inside a transaction.
    """
    session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
    if session is None:
        return None
    run = session.runs.live().first()
    if run is not None:
        # Never waited for: whoever wakes it takes the run first and the session then.
        parked = session.runs.filter(pk=run.pk, status=Run.Status.WAITING)
        if not parked.select_for_update(skip_locked=True, no_key=True).exists():
            return None
    entry = Entry(session.reserved_seq + 1, at, event)
    Session.objects.filter(pk=session_id).update(reserved_seq=entry.seq)
    if run is not None:
        Run.objects.filter(pk=run.pk).update(last_seq=entry.seq)
    append([Stretch(session_id, None, 0, session.scope_id, (entry,))])
    return entry
