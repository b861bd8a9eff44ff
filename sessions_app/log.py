"""The event log: append stretches of events, read them back in order.

Law: numbers are given out only from blocks that a committed write has reserved,
so a number that was sent and died with its process is never given out again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db import IntegrityError, connection

from agentsite.engine.events import AnyEvent, Entry
from agentsite.rows.tenancy import switch
from agentsite.rows.together import Together
from sessions_app.models import EventBatch, Run, Session

BLOCK = 4096
CHANNEL = "agentsite_log"
NOTIFY_BYTES = 7000
TABLE = (
    "sessions_app_eventbatch (session_id, run_id, attempt, scope_id, first_seq, last_seq, entries)"
)

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
    by_scope: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        by_scope.setdefault(stretch.scope_id, []).append(stretch)
    for scope_id, its_own in by_scope.items():
        switch(scope_id, together)
        _say_insert(together, its_own)
    _say_news(together, stretches)
    together.send()


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
    """The same as part of what is sent together; they are of one scope."""
    _say_insert(together, stretches)
    _say_news(together, stretches)


def _say_insert(together: Together, stretches: list[Stretch]) -> None:
    rows = [*map(_to_row, stretches)]
    if len(rows) == 1:  # arrays cost more to write than one row does
        together.say(f"INSERT INTO {TABLE} VALUES (%s, %s, %s, %s, %s, %s, %s)", rows[0])  # noqa: S608
        return
    together.say(
        f"INSERT INTO {TABLE} SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[],"  # noqa: S608
        " %s::bigint[], %s::bigint[], %s::bytea[])",
        [list(column) for column in zip(*rows, strict=True)],
    )


def tell_end(session_ids: Iterable[str]) -> None:
    """Tell all processes that these sessions have no log any more. Inside the transaction."""
    with connection.cursor() as cursor:
        for session_id in session_ids:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"-{session_id}"])


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
    if words:
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


class NotHeld(IntegrityError):
    """The attempt does not hold its run any more: it gets no numbers."""


def reserve(run_id: str, attempt: int) -> int:
    """Reserve a further block of its session for a run; returns its last number.

    Raises `NotHeld` for an attempt that was overtaken. The share lock makes a takeover wait,
    which then finds this block reserved.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH held AS (SELECT session_id FROM sessions_app_run"
            "  WHERE id = %s AND attempt = %s AND status = 'running' FOR SHARE)"
            " UPDATE sessions_app_session SET reserved_seq = reserved_seq + %s"
            " FROM held WHERE id = held.session_id RETURNING reserved_seq",
            [run_id, attempt, BLOCK],
        )
        row = cursor.fetchone()
    if row is None:
        raise NotHeld(f"attempt {attempt} does not hold run {run_id}")
    return int(row[0])


def append_beside_runs(session: Session, at: int, event: AnyEvent) -> Entry | None:
    """Append an event of the session itself; None (nothing written) while a run is running.

    It holds the numbers, so only its owner can append then; a parked one has given them back.
    Inside a transaction that has locked the session's row.
    """
    run = session.runs.live().first()
    if run is not None:
        # Never waited for: whoever wakes it takes the run first and the session then.
        parked = session.runs.filter(pk=run.pk, status=Run.Status.WAITING)
        if not parked.select_for_update(skip_locked=True, no_key=True).exists():
            return None
    entry = Entry(session.reserved_seq + 1, at, event)
    Session.objects.filter(pk=session.pk).update(reserved_seq=entry.seq)
    if run is not None:
        Run.objects.filter(pk=run.pk).update(last_seq=entry.seq)
    append([Stretch(session.pk, None, 0, session.scope_id, (entry,))])
    return entry
