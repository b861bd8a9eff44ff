"""Messages that wait for a busy session: queued runs, first in first out, at most 20.

Law: a queued run is a row with its message inside; it becomes a run like any other
when the live one has ended. Restarts forget nothing.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, F, Max, Value
from django.db.models.functions import Greatest, Now

from agentsite.bus.catalogue import RunStarted, SessionUpdated
from agentsite.engine.events import Entry, Init
from agentsite.engine.messages import Message as HistoryMessage
from agentsite.engine.transcript import user_to_api
from sessions_app import log, news
from sessions_app.actions import NewRun, SessionNotFound, bind_key, find_reuse, to_moment
from sessions_app.beginnings import insert_attachments, insert_message
from sessions_app.models import IdempotencyKey, Run, Session

LONGEST = 20
ORPHANS_AT_ONCE = 20
ORPHANED = (
    "q.status = 'queued' AND NOT EXISTS (SELECT 1 FROM sessions_app_run l"
    " WHERE l.session_id = q.session_id AND l.status IN ('running', 'waiting'))"
)
"""A queued run `q` that no live one will start when it ends."""


class QueueFull(Exception):
    """Twenty messages wait already."""


class QueuedMessage(msgspec.Struct, frozen=True):
    """What a queued run keeps in its request."""

    message: HistoryMessage
    aside: str


def enqueue(new: NewRun, *, rank: int, steering: bool) -> int:
    """Write a queued run; returns its place, from 1.

    Raises `SessionNotFound`, `QueueFull` or `KeyReused`; then nothing was written.
    """
    try:
        return _enqueue(new, rank, steering)
    except IntegrityError as error:
        used = find_reuse(new)
        if used is not None:
            raise used from error
        raise


def _enqueue(new: NewRun, rank: int, steering: bool) -> int:
    with transaction.atomic():
        session = (
            Session.objects.select_for_update(no_key=True)
            .filter(pk=new.session_id, agent=new.agent, scope_id=new.scope_id)
            .exclude(status=Session.Status.EXPIRED)
            .first()
        )
        if session is None:
            raise SessionNotFound(new.session_id)
        used = find_reuse(new)
        if used is not None:  # sent twice at once: the other one has held the session
            raise used
        queued_runs = Run.objects.filter(session=session, status=Run.Status.QUEUED)
        found = queued_runs.aggregate(waiting=Count("pk"), newest=Max("created_at"))
        if found["waiting"] >= LONGEST:
            raise QueueFull(new.session_id)
        queued = QueuedMessage(new.message, new.aside)
        Run(
            id=new.run_id,
            session=session,
            agent=new.agent,
            scope_id=new.scope_id,
            agent_version=new.agent_version,
            agent_hash=new.agent_hash,
            status=Run.Status.QUEUED,
            queue_rank=rank,
            steering=steering,
            state=msgspec.to_builtins(new.state),
            request={**new.request, "queued": msgspec.to_builtins(queued)},
            created_at=_moment_behind(found["newest"]),
        ).save(force_insert=True)
        insert_attachments(new)
        bind_key(new)
    return int(found["waiting"]) + 1


def _moment_behind(newest: dt.datetime | None) -> Now | Greatest:
    """When a message was accepted, which is its place in the queue; asked under the session's lock.

    By the clock of the database, for processes disagree; that one may be set back as well.
    """
    if newest is None:
        return Now()
    return Greatest(Now(), Value(newest + dt.timedelta(microseconds=1)))


def start_next(session_id: str, owner: str, lease_seconds: float, at: int) -> str | None:
    """Turn the next queued run of an idle session into its live one; returns its id."""
    try:
        with transaction.atomic():
            session = Session.objects.select_for_update(no_key=True).filter(pk=session_id).first()
            if session is None or session.runs.live().exists():
                return None
            queued = session.runs.filter(status=Run.Status.QUEUED)
            run = queued.order_by("queue_rank", "created_at", "id").first()
            if run is None:
                return None
            _start(session, run, owner, lease_seconds, at)
            return str(run.pk)
    except IntegrityError as error:
        if "one_live_run_per_session" in str(error):
            return None
        raise


def _start(session: Session, run: Run, owner: str, lease_seconds: float, at: int) -> None:
    queued = msgspec.convert(run.request["queued"], QueuedMessage)
    request = {key: value for key, value in run.request.items() if key != "queued"}
    moment, seq = to_moment(at), session.reserved_seq + 1
    Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED).update(
        status=Run.Status.RUNNING,
        owner=owner,
        lease_until=Now() + dt.timedelta(seconds=lease_seconds),
        parked_seconds=(moment - run.created_at).total_seconds(),  # it was not running meanwhile
        request=request,
        first_seq=seq,
        last_seq=seq,
    )
    insert_message(session.pk, run.pk, run.scope_id, queued.message, queued.aside, seq, moment)
    api_message = user_to_api(queued.message, at, run.pk, session.pk)
    init = Entry(seq, at, Init(session.pk, run.pk, api_message))
    Session.objects.filter(pk=session.pk).update(
        status=Session.Status.RUNNING,
        reserved_seq=seq,
        updated_at=moment,
        last_message_at=moment,
        message_count=F("message_count") + 1,
    )
    log.append([log.Stretch(session.pk, run.pk, 1, run.scope_id, (init,))])
    news.tell(session.pk, SessionUpdated(session.pk, "running"), RunStarted(run.pk, session.pk))


def list_steering(session_id: str) -> list[tuple[str, HistoryMessage]]:
    """Messages that want to join the running loop, oldest first: `(queued run, message)`."""
    rows = Run.objects.filter(session_id=session_id, status=Run.Status.QUEUED, steering=True)
    return [
        (row.pk, msgspec.convert(row.request["queued"], QueuedMessage).message)
        for row in rows.order_by("created_at", "id")
    ]


def is_steered(session_id: str) -> bool:
    """Whether such messages wait."""
    rows = Run.objects.filter(session_id=session_id, status=Run.Status.QUEUED, steering=True)
    return rows.exists()


def absorb(run_id: str, into_run_id: str) -> None:
    """The message of a queued run has joined the live one. Inside its transaction."""
    IdempotencyKey.objects.filter(run_id=run_id).update(run_id=into_run_id)
    Run.objects.filter(pk=run_id, status=Run.Status.QUEUED).delete()


def list_queue(session_id: str) -> list[dict[str, Any]]:
    """What waits, in order, as `/state` shows it."""
    rows = Run.objects.filter(session_id=session_id, status=Run.Status.QUEUED)
    return [
        {
            "runId": row.pk,
            "place": place,
            "steering": row.steering,
            "text": msgspec.convert(row.request["queued"], QueuedMessage).message.text,
        }
        for place, row in enumerate(rows.order_by("queue_rank", "created_at", "id"), start=1)
    ]


def sessions_of(run_ids: list[str]) -> list[str]:
    """The sessions of those of these runs that are queued."""
    rows = Run.objects.filter(pk__in=run_ids, status=Run.Status.QUEUED)
    return [str(session_id) for session_id in rows.values_list("session_id", flat=True)]


def find_orphans(most: int = ORPHANS_AT_ONCE) -> list[str]:
    """Sessions with queued runs and no live one: their process died between two runs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT session_id FROM sessions_app_run q"  # noqa: S608 - our own words
            f" WHERE {ORPHANED} LIMIT %s",
            [most],
        )
        return [str(row[0]) for row in cursor.fetchall()]
