"""Who may write to a run: leases, taking over, and words to the owner.

Law: conditional updates by the clock of the database; a taking over raises the
attempt, so that the loser's appends are refused (migration 0002). Locks are `no_key`:
rows that point at a locked one are checked at the commit and must not wait for it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models.functions import Coalesce, Now

from agentsite.bus.catalogue import SessionUpdated
from agentsite.engine.events import CredentialSaved, Entry, TitleChanged
from sessions_app import log, news
from sessions_app.models import Run, Session, Signal

TAKEN_AT_ONCE = 10
TAKE = (
    "UPDATE sessions_app_run SET attempt = attempt + 1, losses = losses + (owner <> '')::int,"
    " parked_seconds = parked_seconds + greatest(0, extract(epoch FROM now() - lease_until)),"
    " owner = %s, lease_until = now() + %s * interval '1 second'"
)
"""While nobody held it, it did not run."""
LOST = (
    "status = 'running' AND lease_until <= now()"
    " AND (owner = '' OR pg_postmaster_start_time() < now() - %s * interval '1 second')"
)
"""Nobody is presumed dead before the database has been there for the time of a lease."""


class Held(msgspec.Struct, frozen=True):
    """A run whose lease was renewed, and what its row says of its end."""

    run_id: str
    stop: bool
    """Somebody has asked for it; the word to its owner may have been lost."""
    rollback: bool


def renew_leases(owner: str, run_ids: list[str], seconds: float) -> list[Held]:
    """Extend the leases that this process still holds; returns those."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_run SET lease_until = now() + %s * interval '1 second'"
            " WHERE id = ANY(%s) AND owner = %s AND status = 'running'"
            " RETURNING id, cancel_requested_at IS NOT NULL, rollback_requested",
            [seconds, run_ids, owner],
        )
        return [Held(*row) for row in cursor.fetchall()]


def release_leases(owner: str, run_ids: list[str] | None = None) -> None:
    """Hand runs over, all of the owner's if none are named.

    Anybody may take them now, and it counts as no loss.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_run SET lease_until = now(), owner = ''"
            " WHERE (%s::text[] IS NULL OR id = ANY(%s)) AND owner = %s AND status = 'running'",
            [run_ids, run_ids, owner],
        )


def take_over(
    owner: str,
    seconds: float,
    spared: list[str],
    most: int = TAKEN_AT_ONCE,
    overdue: float = 0.0,
) -> list[str]:
    """Claim at most so many runs whose lease ran out `overdue` seconds ago; returns their ids.

    `spared` live in this very process, which was too busy to renew them in time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"{TAKE} WHERE id IN (SELECT id FROM sessions_app_run"  # noqa: S608 - our own words
            f"  WHERE {LOST} AND id <> ALL(%s) AND lease_until <= now() - %s * interval '1 second'"
            "  ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id",
            [owner, seconds, seconds, spared, overdue, most],
        )
        return [str(row[0]) for row in cursor.fetchall()]


def is_database_young(seconds: float) -> bool:
    """Whether the database was started less than so many seconds ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_postmaster_start_time() > now() - %s * interval '1 second'", [seconds]
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def request_interrupt(
    session_id: str, *, rollback: bool = False, spared: str | None = None
) -> str | None:
    """Ask for the end of the session's live run, unless it is `spared`; returns its id.

    Written first, so that whoever holds or takes the run stops it. A parked run is made
    claimable for that. The first stop's time stays; a rollback may be asked for after it.
    """
    with transaction.atomic():
        run = (
            Run.objects.live()
            .filter(session_id=session_id)
            .only("id", "status", "scope_id")
            .first()
        )
        if run is None or run.pk == spared:
            return None
        lock_run(run.pk)
        wish = {"rollback_requested": True} if rollback else {}
        Run.objects.filter(pk=run.pk).update(
            cancel_requested_at=Coalesce("cancel_requested_at", Now()), **wish
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
    news.tell(row[0], SessionUpdated(row[0], "running"))
    return True


def rename(session_id: str, title: str, at: int, *, made: bool = False) -> Entry | str | None:
    """Set a session's title and log it, in one; the id of the run whose owner will, if one is live.

    None for a session that does not exist. One that a model has `made` is for a session without
    a title alone, and without one that waits to be announced.
    """
    with transaction.atomic():
        session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
        if session is None:
            return None
        waiting = Signal.objects.filter(run__session=session, kind=Signal.Kind.TITLE)
        if made and (session.title or waiting.exists()):
            return None
        with connection.cursor() as cursor:
            # What was said before counts no more. Whose commit holds one has just announced it.
            cursor.execute(
                "DELETE FROM sessions_app_signal WHERE id IN (SELECT s.id FROM sessions_app_signal"
                "  s JOIN sessions_app_run r ON r.id = s.run_id WHERE r.session_id = %s"
                "  AND s.kind = %s FOR UPDATE OF s SKIP LOCKED)",
                [session_id, Signal.Kind.TITLE],
            )
        return _announce_title(session, title, at)


def set_title(session_id: str, title: str) -> None:
    """Write a title that the log is told in the same transaction."""
    Session.objects.filter(pk=session_id).update(title=title, updated_at=Now())
    news.tell(session_id, SessionUpdated(session_id, title=title))


def has_title(session_id: str, title: str) -> bool:
    """Whether the session is called that; also when there is none any more."""
    found = Session.objects.filter(pk=session_id).values_list("title", flat=True).first()
    return found is None or found == title


class WaitingTitle(msgspec.Struct, frozen=True):
    """The newest title that a run's owner was asked to announce, and all such signals."""

    title: str
    signals: tuple[int, ...]

    def write(self, session_id: str) -> None:
        """The rows that go with its announcement."""
        set_title(session_id, self.title)
        forget_signals(list(self.signals))


def find_waiting_title(run_id: str) -> WaitingTitle | None:
    """A title that the log may not have, or may have lost with the last attempt."""
    signals = Signal.objects.filter(run_id=run_id, kind=Signal.Kind.TITLE).order_by("id")
    found = list(signals.values_list("id", "data"))
    return WaitingTitle(found[-1][1]["title"], tuple(id for id, _ in found)) if found else None


def tell_of_credential(session_id: str, connection_name: str, at: int) -> Entry | None:
    """Log that a credential was saved; None when the owner of a live run is asked to."""
    with transaction.atomic():
        session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
        return None if session is None else _announce_credential(session, connection_name, at)


def announce_late(run_id: str, session_id: str, at: int) -> list[Entry]:
    """Put into the log what a run's owner was asked to announce but ended too early for."""
    with transaction.atomic():
        session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
        with connection.cursor() as cursor:  # nothing else can reach a run that is done
            cursor.execute(
                "DELETE FROM sessions_app_signal s USING sessions_app_run r WHERE s.run_id = %s"
                " AND r.id = s.run_id AND (s.kind = %s OR r.status = 'done')"
                " RETURNING s.id, s.kind, s.data->>'title', s.data->>'connection'",
                [run_id, Signal.Kind.TITLE],
            )
            late = sorted(cursor.fetchall())
        if session is None:
            return []
        titles = [title for _, kind, title, _ in late if kind == Signal.Kind.TITLE]
        saved = [name for _, kind, _, name in late if kind == Signal.Kind.CREDENTIAL]
        announced = [_announce_title(session, title, at) for title in titles[-1:]]
        for name in saved:
            session.refresh_from_db(fields=["reserved_seq"])
            announced.append(_announce_credential(session, name, at) or "")
        return [entry for entry in announced if isinstance(entry, Entry)]


def find_late_titles() -> list[tuple[str, str]]:
    """Runs that nobody drives, with titles to announce: `(run id, session id)`."""
    signals = Signal.objects.filter(
        kind=Signal.Kind.TITLE, run__status__in=(Run.Status.WAITING, Run.Status.DONE)
    )
    rows = signals.values_list("run_id", "run__session_id").distinct()
    return [(str(run_id), str(session_id)) for run_id, session_id in rows[:TAKEN_AT_ONCE]]


def _announce_title(session: Session, title: str, at: int) -> Entry | str:
    entry = log.append_beside_runs(session, at, TitleChanged(title))
    if entry is not None:
        set_title(session.pk, title)
        return entry
    run = session.runs.live().get()
    send_signal(run, Signal.Kind.TITLE, {"title": title})
    return str(run.pk)


def _announce_credential(session: Session, connection_name: str, at: int) -> Entry | None:
    entry = log.append_beside_runs(session, at, CredentialSaved(connection_name))
    run = None if entry else session.runs.live().first()
    if run is not None:
        send_signal(run, Signal.Kind.CREDENTIAL, {"connection": connection_name})
    return entry


def send_signal(run: Run, kind: Signal.Kind, data: dict[str, Any]) -> None:
    """Leave a word for the run's owner and wake it. Inside a transaction."""
    Signal.objects.create(run=run, scope_id=run.scope_id, kind=kind, data=data)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [log.CHANNEL, f"!{run.pk}"])


def take_signals(owner: str, run_ids: list[str]) -> list[tuple[int, str, str, dict[str, Any]]]:
    """Take the words that wait for those of these runs that are the owner's, in order.

    Each is `(id, run_id, kind, data)`. Whoever has lost a run leaves its words to the next one.
    Titles stay until `forget_signals`: nothing but the log can tell clients of them, and what
    an attempt has logged since it saved its state dies with it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM sessions_app_signal s USING sessions_app_run r"
            " WHERE s.run_id = ANY(%s) AND s.kind <> %s AND r.id = s.run_id AND r.owner = %s"
            " AND r.status = 'running' RETURNING s.id, s.run_id, s.kind, s.data::text",
            [run_ids, Signal.Kind.TITLE, owner],
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
