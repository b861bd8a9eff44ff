"""Who may write to a run: leases, taking over, and words to the owner.

Law: conditional updates by the clock of the database; a taking over raises the
attempt, so that the loser's appends are refused (migration 0002). Locks are `no_key`:
rows that point at a locked one are checked at the commit and must not wait for it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models.functions import Now

from agentsite.engine.events import Entry, TitleChanged
from sessions_app import log
from sessions_app.models import Run, Session, Signal

TAKEN_AT_ONCE = 10
TAKE = (
    "UPDATE sessions_app_run SET attempt = attempt + 1, losses = losses + (owner <> '')::int,"
    " owner = %s, lease_until = now() + %s * interval '1 second'"
)
LOST = (
    "status = 'running' AND lease_until <= now()"
    " AND (owner = '' OR pg_postmaster_start_time() < now() - %s * interval '1 second')"
)
"""Nobody is presumed dead before the database has been there for the time of a lease."""


def renew_leases(owner: str, run_ids: list[str], seconds: float) -> set[str]:
    """Extend the leases that this process still holds; returns their run ids."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_run SET lease_until = now() + %s * interval '1 second'"
            " WHERE id = ANY(%s) AND owner = %s AND status = 'running' RETURNING id",
            [seconds, run_ids, owner],
        )
        return {str(row[0]) for row in cursor.fetchall()}


def release_leases(owner: str, run_ids: list[str]) -> None:
    """Hand runs over: anybody may take them now, and it counts as no loss."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_run SET lease_until = now(), owner = ''"
            " WHERE id = ANY(%s) AND owner = %s AND status = 'running'",
            [run_ids, owner],
        )


def take_over(owner: str, seconds: float) -> list[str]:
    """Claim runs whose lease has run out; returns their ids. In bounded numbers."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{TAKE} WHERE id IN (SELECT id FROM sessions_app_run"  # noqa: S608 - our own words
            f"  WHERE {LOST} ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id",
            [owner, seconds, seconds, TAKEN_AT_ONCE],
        )
        return [str(row[0]) for row in cursor.fetchall()]


def request_interrupt(
    session_id: str, *, rollback: bool = False, spared: str | None = None
) -> str | None:
    """Ask for the end of the session's live run, unless it is `spared`; returns its id.

    Written first, so that whoever holds or takes the run stops it. A parked run is made
    claimable for that.
    """
    with transaction.atomic():
        run = Run.objects.live().filter(session_id=session_id).only("id", "status").first()
        if run is None or run.pk == spared:
            return None
        lock_run(run.pk)
        Run.objects.filter(pk=run.pk, cancel_requested_at=None).update(
            cancel_requested_at=Now(), rollback_requested=rollback
        )
        wake_run(run.pk)
        send_signal(run, Signal.Kind.ROLLBACK if rollback else Signal.Kind.INTERRUPT, {})
        return str(run.pk)


def lock_run(run_id: str) -> None:
    """Keep a run from being parked or taken until this transaction ends."""
    Run.objects.select_for_update(no_key=True).filter(pk=run_id).values_list("pk").first()


def claim_run(run_id: str, owner: str, seconds: float) -> bool:
    """Take one run that nobody holds (woken, released or orphaned)."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{TAKE} WHERE id = %s AND {LOST} RETURNING id", [owner, seconds, run_id, seconds]
        )
        return cursor.fetchone() is not None


def wake_run(run_id: str) -> bool:
    """Make a parked run claimable at once; False when it is not parked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_run SET status = 'running', owner = '', lease_until = now(),"
            " parked_seconds = parked_seconds + extract(epoch FROM now() - parked_at),"
            " parked_at = NULL WHERE id = %s AND status = 'waiting' RETURNING session_id",
            [run_id],
        )
        row = cursor.fetchone()
    if row is None:
        return False
    Session.objects.filter(pk=row[0]).update(status=Session.Status.RUNNING, updated_at=Now())
    return True


def rename(session_id: str, title: str, at: int) -> Entry | None:
    """Set a session's title and put it into the log; None when a run's owner does the latter."""
    with transaction.atomic():
        session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
        if session is None:
            return None
        Session.objects.filter(pk=session_id).update(title=title, updated_at=Now())
        return _announce_title(session, title, at)


def announce_late_title(run_id: str, session_id: str, at: int) -> Entry | None:
    """Put into the log what a run's owner was asked to announce but ended too early for."""
    with transaction.atomic():
        session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
        with connection.cursor() as cursor:  # nothing else can reach a run that is done
            cursor.execute(
                "DELETE FROM sessions_app_signal s USING sessions_app_run r WHERE s.run_id = %s"
                " AND r.id = s.run_id AND (s.kind = %s OR r.status = 'done') RETURNING s.kind",
                [run_id, Signal.Kind.TITLE],
            )
            late = (Signal.Kind.TITLE,) in cursor.fetchall()
        if session is None or not late:
            return None
        return _announce_title(session, session.title, at)  # a newer one may have overtaken it


def find_late_titles() -> list[tuple[str, str]]:
    """Runs that nobody drives, with titles to announce: `(run id, session id)`."""
    signals = Signal.objects.filter(
        kind=Signal.Kind.TITLE, run__status__in=(Run.Status.WAITING, Run.Status.DONE)
    )
    rows = signals.values_list("run_id", "run__session_id").distinct()
    return [(str(run_id), str(session_id)) for run_id, session_id in rows[:TAKEN_AT_ONCE]]


def _announce_title(session: Session, title: str, at: int) -> Entry | None:
    entry = log.append_beside_runs(session.pk, at, TitleChanged(title))
    if entry is None:
        run = session.runs.live().get()
        send_signal(run, Signal.Kind.TITLE, {"title": title})
    return entry


def send_signal(run: Run, kind: Signal.Kind, data: dict[str, Any]) -> None:
    """Leave a word for the run's owner and wake it. Inside a transaction."""
    Signal.objects.create(run=run, kind=kind, data=data)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [log.CHANNEL, f"!{run.pk}"])


def take_signals(run_ids: list[str]) -> list[tuple[int, str, str, dict[str, Any]]]:
    """Take the words that wait for these runs: `(id, run_id, kind, data)` in order.

    Titles stay until `forget_signals`: nothing but the log can tell clients of them, and what
    an attempt has logged since it saved its state dies with it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM sessions_app_signal WHERE run_id = ANY(%s) AND kind <> %s"
            " RETURNING id, run_id, kind, data::text",
            [run_ids, Signal.Kind.TITLE],
        )
        rows = cursor.fetchall()
        cursor.execute(
            "SELECT id, run_id, kind, data::text FROM sessions_app_signal"
            " WHERE run_id = ANY(%s) AND kind = %s",
            [run_ids, Signal.Kind.TITLE],
        )
        rows = sorted([*rows, *cursor.fetchall()])
    return [(id, run_id, kind, msgspec.json.decode(data)) for id, run_id, kind, data in rows]


def forget_signals(ids: list[int]) -> None:
    """What these asked for is done, together with the state that is being saved."""
    Signal.objects.filter(pk__in=ids).delete()
