"""How sessions age and go: active, idle, expired, and what is deleted when.

Law: a session with a queued, live or parked run does not age, nor does an archived
one, until whoever archived it lets it go (`purge_archived`). Of an expired session the
metadata, counts, usage and cost stay, and what says so of itself (`stays_when_expired`: thumbs
that wait for a review, keys that were promised for a day); the metering rows always. Work is
done in small transactions, so it may be stopped at any time.
"""

from __future__ import annotations

import msgspec
from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from agentsite.bus.catalogue import SessionDeleted
from sessions_app import log, news
from sessions_app.models import EventBatch, Message, Run, Session

STEP = 100
"""Sessions per transaction."""
UNFINISHED = (Run.Status.QUEUED, *Run.LIVE)


class Aged(msgspec.Struct, frozen=True):
    """How many sessions changed."""

    idle: int
    expired: int
    purged: int
    """Sessions whose messages and events were deleted."""


def age_sessions(ttl: float, retention: float) -> Aged:
    """Let sessions age; `ttl` and `retention` in seconds, a `ttl` of 0 means never."""
    idle = expired = 0
    if ttl:
        idle = _advance(Session.Status.ACTIVE, Session.Status.IDLE, ttl)
        expired = _advance(Session.Status.IDLE, Session.Status.EXPIRED, 2 * ttl)
    return Aged(idle, expired, _purge(2 * ttl + retention))


def _advance(source: Session.Status, target: Session.Status, seconds: float) -> int:
    total = 0
    while moved := _advance_some(source, target, seconds):
        total += moved
    return total


def _advance_some(source: Session.Status, target: Session.Status, seconds: float) -> int:
    # One statement: a message that arrives meanwhile holds the row and is seen here.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_session SET status = %s WHERE status = %s AND id IN ("
            " SELECT s.id FROM sessions_app_session s WHERE s.status = %s"
            "  AND s.last_message_at < now() - %s * interval '1 second'"
            "  AND NOT EXISTS (SELECT 1 FROM sessions_app_run r"
            "   WHERE r.session_id = s.id AND r.status = ANY(%s))"
            "  LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id",
            [target, source, source, seconds, list(UNFINISHED), STEP],
        )
        moved = [str(row[0]) for row in cursor.fetchall()]
        news.tell_statuses(moved)
    return len(moved)


def _purge(seconds: float) -> int:
    total = 0
    while purged := _purge_some(seconds):
        total += purged
    return total


def _purge_some(seconds: float) -> int:
    due = Session.objects.filter(
        Exists(Message.objects.filter(session_id=OuterRef("pk")))
        | Exists(EventBatch.objects.filter(session_id=OuterRef("pk"))),
        status=Session.Status.EXPIRED,
        last_message_at__lt=Now() - _seconds(seconds),
    )
    with transaction.atomic():
        ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:STEP])
        if ids:
            _forget(ids)
    return len(ids)


def purge_archived(session_ids: list[str]) -> None:
    """Let archived sessions expire at once, whoever knows that their time is over.

    In the caller's transaction; one that was taken up again is no longer archived, and stays.
    """
    archived = Session.objects.filter(pk__in=session_ids, status=Session.Status.ARCHIVED)
    ids = list(archived.select_for_update().values_list("pk", flat=True))
    if ids:
        Session.objects.filter(pk__in=ids).update(status=Session.Status.EXPIRED)
        news.tell_statuses(ids)
        _forget(ids)


def _forget(session_ids: list[str]) -> None:
    _delete_dependents(session_ids, and_what_stays=False)
    # What a run was asked and where it stood is conversation as well.
    Run.objects.filter(session_id__in=session_ids).update(state={}, request={})
    log.tell_end(session_ids)


def _seconds(seconds: float) -> models.Func:
    return models.Func(
        models.Value(seconds),
        template="(%(expressions)s * interval '1 second')",
        output_field=models.DurationField(),
    )


def is_live(session_id: str) -> bool:
    """Whether a run of the session works or waits for a person."""
    return Run.objects.live().filter(session_id=session_id).exists()


def empty_queue(session_id: str) -> None:
    """Forget the messages that wait for the session."""
    Run.objects.filter(session_id=session_id, status=Run.Status.QUEUED).delete()


class StillLive(Exception):
    """The session has a live run."""


def delete_session(session_id: str, scope_id: str, *, even_if_live: bool = False) -> bool:
    """Delete a session and all that hangs on it; False when there is none in this scope.

    Metering rows stay. Raises `StillLive`, unless the run does not matter any more: its
    owner finds out by the refusal of its next write.
    """
    with transaction.atomic():
        rows = Session.objects.for_scope(scope_id).filter(pk=session_id)
        if not rows.select_for_update().exists():
            return False
        if not even_if_live and is_live(session_id):
            raise StillLive(session_id)
        news.tell(session_id, SessionDeleted(session_id))
        _delete_dependents([session_id], and_what_stays=True)
        rows._raw_delete(rows.db)
        log.tell_end([session_id])
    return True


def _delete_dependents(session_ids: list[str], *, and_what_stays: bool) -> None:
    """Delete rows that point at these sessions, or at their runs, without loading them.

    The order is free: constraints between them are checked when the transaction ends.
    """
    for model, path in dependents():
        if and_what_stays or not getattr(model, "stays_when_expired", False):
            rows = model._default_manager.filter(Q((f"{path}__in", session_ids)))
            rows._raw_delete(rows.db)


def dependents() -> list[tuple[type[models.Model], str]]:
    """Every model with a foreign key to a session, or to a run only, and the path to the id."""
    found = {model: f"{name}_id" for model, name in _pointing_at(Session)}
    for model, name in _pointing_at(Run):
        found.setdefault(model, f"{name}__session_id")
    return sorted(found.items(), key=lambda pair: pair[0] is Run)


def _pointing_at(target: type[models.Model]) -> list[tuple[type[models.Model], str]]:
    relations = target._meta.get_fields(include_hidden=True)
    return [
        (relation.related_model, relation.field.name)
        for relation in relations
        if isinstance(relation, models.ManyToOneRel) and isinstance(relation.related_model, type)
    ]
