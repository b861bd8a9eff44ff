"""Verbs on a conversation, each one transaction. Nothing outside the database happens here.

Law: conditional updates and constraints, never fetch-change-save. The verbs of a
run that was taken over fail with `LeaseLost`.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from agentsite.bus.catalogue import (
    RunFinished,
    RunStarted,
    SessionCreated,
    SessionUpdated,
)
from agentsite.engine.deltas import Usage
from agentsite.engine.events import AnyEvent, Entry, Init, TitleChanged
from agentsite.engine.messages import ImagePart, Message as HistoryMessage, Part, ResultStatus
from agentsite.engine.steps import RunState
from agentsite.rows.together import Together
from sessions_app import log, news
from sessions_app.beginnings import new_run, new_session
from sessions_app.keys import KeyReused, find_key, remember_key
from sessions_app.models import (
    Attachment,
    Message,
    Run,
    Session,
    ToolCall,
)


class SessionNotFound(Exception):
    """Unknown, foreign or expired: callers cannot tell which."""


class SessionBusy(Exception):
    """The session has a live run, or messages that wait for one."""


class LeaseLost(Exception):
    """Another process holds the run now; stop at once and write nothing."""


class NewAttachment(msgspec.Struct, frozen=True):
    id: str
    name: str
    media_type: str
    data: bytes


class NewRun(msgspec.Struct, frozen=True):
    """Everything that `begin_run` writes; ids and times are the caller's."""

    session_id: str
    new_session: bool
    agent: str
    scope_id: str
    session_type: str
    provider: str
    model: str
    run_id: str
    message: HistoryMessage
    aside: str
    api_message: dict[str, Any]
    """The message as `GET /sessions/{id}` shows it."""
    attachments: tuple[NewAttachment, ...]
    agent_version: str
    agent_hash: str
    state: RunState
    request: dict[str, Any]
    owner: str
    lease_seconds: float
    at: int
    """Milliseconds since the epoch."""
    automation: str = ""
    """Name of the automation whose run it is; its session is tagged and titled from the start."""
    tags: tuple[str, ...] = ()
    title: str = ""
    key: str | None = None
    """The caller's idempotency key, and the hash of what it was sent with."""
    body_hash: str = ""


class BegunRun(msgspec.Struct, frozen=True):
    entries: tuple[Entry, ...]
    """`init`, and behind it the title of a session that has one from the start."""
    block_end: int
    """Last number that may be given out before a further block is reserved."""
    session_usage: Usage
    """Tokens of the session's earlier runs."""


def begin_run(new: NewRun, foreseen: Callable[[BegunRun], None] | None = None) -> BegunRun:
    """Create (or find) the session and start a run in it, its first events included.

    With `foreseen` this is all of its transaction; it is told, while the database works, what
    will have begun unless this raises. Only for a new session without a key.
    Raises `SessionNotFound`, `SessionBusy` or `KeyReused`; then nothing was written.
    """
    moment = to_moment(new.at)
    # What leaves together is a transaction of its own, or a part of the unit's.
    inside = connection.in_atomic_block
    alone = new.new_session and new.key is None and not inside
    together = Together()
    try:
        # Only who looks for the same key after a refusal must be able to go on from here.
        with nullcontext() if alone else transaction.atomic(savepoint=new.key is not None):
            if new.new_session:
                together.insert(new_session(new, moment))
                before, usage = 0, Usage()
            else:
                before, usage = _enter_session(new, moment)
            told = _first_events(new)
            entries = tuple(Entry(before + n, new.at, each) for n, each in enumerate(told, start=1))
            run, *others = new_run(new, before + 1, entries[-1].seq, moment)
            together.insert(run, {"lease_until": new.lease_seconds})
            for row in others:
                together.insert(row)
            stretch = log.Stretch(new.session_id, new.run_id, 1, new.scope_id, entries)
            log.say_append(together, [stretch])
            begun = SessionCreated if new.new_session else SessionUpdated
            started = RunStarted(new.run_id, new.session_id)
            news.say(together, new.session_id, begun(new.session_id, "running"), started)
            begun_run = BegunRun(entries, before + log.BLOCK, usage)
            together.send(None if foreseen is None else partial(foreseen, begun_run))
            bind_key(new)
    except (IntegrityError, SessionBusy) as error:
        # What keeps the session busy may be the very same request, sent a moment before.
        used = find_reuse(new)
        if used is not None:
            raise used from error
        if "one_live_run_per_session" in str(error):
            raise SessionBusy(new.session_id) from error
        raise
    return begun_run


def _first_events(new: NewRun) -> list[AnyEvent]:
    init = Init(new.session_id, new.run_id, new.api_message, automation=new.automation)
    return [init, TitleChanged(new.title)] if new.title else [init]


def _enter_session(new: NewRun, moment: dt.datetime) -> tuple[int, Usage]:
    session = Session.objects.filter(pk=new.session_id, agent=new.agent, scope_id=new.scope_id)
    for _ in range(2):  # the run that was in the way may have ended meanwhile
        row = _enter_idle(new, moment)
        if row is not None:
            return int(row[0]) - log.BLOCK, Usage(*row[1:])
        if not session.exclude(status=Session.Status.EXPIRED).exists():
            raise SessionNotFound(new.session_id)
    raise SessionBusy(new.session_id)


def _enter_idle(new: NewRun, moment: dt.datetime) -> tuple[int, ...] | None:
    """Make the session running and reserve numbers; None when it is unknown or not idle."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_session s SET status = 'running', updated_at = %s,"
            " last_message_at = %s, message_count = message_count + 1,"
            " reserved_seq = reserved_seq + %s"
            " WHERE id = %s AND agent = %s AND scope_id = %s AND status <> 'expired'"
            # Looked at first: to wait for the end of a run, which in turn needs the session's
            # row, would be a deadlock. The index decides between two that begin at once.
            # What waits in the queue was accepted before, and goes first.
            # Two questions, because each has an index of its own.
            " AND NOT EXISTS (SELECT 1 FROM sessions_app_run r WHERE r.session_id = s.id"
            "  AND r.status IN ('running', 'waiting'))"
            " AND NOT EXISTS (SELECT 1 FROM sessions_app_run r WHERE r.session_id = s.id"
            "  AND r.status = 'queued')"
            " RETURNING reserved_seq, input, cache_read, cache_write, cache_write_1h, output,"
            " reasoning",
            [moment, moment, log.BLOCK, new.session_id, new.agent, new.scope_id],
        )
        row: tuple[int, ...] | None = cursor.fetchone()
    return row


def bind_key(new: NewRun, run_id: str | None = None) -> None:
    """Remember the caller's idempotency key, if there is one, for its run or for that one."""
    if new.key is not None:
        run_id = run_id or new.run_id
        remember_key(new.agent, new.scope_id, new.key, new.body_hash, new.session_id, run_id)


def find_reuse(new: NewRun) -> KeyReused | None:
    """The earlier request with this one's key, if there is one."""
    if new.key is None:
        return None
    return find_key(new.agent, new.scope_id, new.key, new.body_hash)


class RunRef(msgspec.Struct, frozen=True):
    """Names a run and the attempt that may write to it."""

    run_id: str
    attempt: int
    session_id: str
    scope_id: str


HELD = "id = %s AND attempt = %s AND status IN ('running', 'waiting')"
"""A run of ours: its id and attempt are the values."""


def save_state(ref: RunRef, state: RunState, last_seq: int) -> None:
    """Store where the run stands. Raises `LeaseLost`."""
    together = Together()
    together.say(
        f"UPDATE sessions_app_run SET state = %s, turns = %s, last_seq = %s WHERE {HELD}",  # noqa: S608
        [_to_json(state), state.turn, last_seq, ref.run_id, ref.attempt],
        LeaseLost(ref.run_id),
    )
    together.send()


class NewCall(msgspec.Struct, frozen=True):
    id: str
    name: str
    arguments: dict[str, Any]
    running_label: str = ""
    completed_label: str = ""
    internal: bool = False


def record_message(
    ref: RunRef,
    message: HistoryMessage,
    *,
    position: int,
    at: int,
    partial: bool = False,
    calls: tuple[NewCall, ...] = (),
    covers_until: int | None = None,
) -> None:
    """Append one message of the run (with the calls it asks for) to the history."""
    row = Message(
        id=message.id,
        session_id=ref.session_id,
        run_id=ref.run_id,
        attempt=ref.attempt,
        scope_id=ref.scope_id,
        position=position,
        role=message.role,
        parts=msgspec.to_builtins(message.parts),
        partial=partial,
        covers_until=covers_until,
        created_at=to_moment(at),
    )
    asked = [
        ToolCall(
            id=call.id,
            session_id=ref.session_id,
            run_id=ref.run_id,
            attempt=ref.attempt,
            message_id=message.id,
            scope_id=ref.scope_id,
            position=place,
            name=call.name,
            arguments=call.arguments,
            status=ToolCall.Status.HELD,
            running_label=call.running_label,
            completed_label=call.completed_label,
            internal=call.internal,
        )
        for place, call in enumerate(calls)
    ]
    together = Together()
    for new in (row, *asked):
        together.insert(new)
    together.say(
        "UPDATE sessions_app_session SET message_count = message_count + 1,"
        " updated_at = statement_timestamp() WHERE id = %s",
        [ref.session_id],
    )
    together.send()


def start_calls(ref: RunRef, call_ids: tuple[str, ...]) -> None:
    """The intent: these calls are about to be made, or made again. Raises `LeaseLost`.

    A row that changes meets the fence; one that cannot has been settled by another attempt.
    """
    still_open = ToolCall.objects.filter(
        pk__in=call_ids, run_id=ref.run_id, status__in=("held", "running")
    )
    started = still_open.update(
        status=ToolCall.Status.RUNNING, started_at=Now(), attempt=ref.attempt
    )
    if started < len(call_ids):
        raise LeaseLost(ref.run_id)


def settle_call(
    ref: RunRef,
    call_id: str,
    status: ResultStatus,
    parts: tuple[Part, ...],
    duration_ms: int,
    widgets: list[dict[str, Any]],
    *,
    stops: bool = False,
    outcome_unknown: bool = False,
) -> None:
    """The outcome: a call's one result. A second one is refused (`LeaseLost`)."""
    updated = ToolCall.objects.filter(
        pk=call_id, run_id=ref.run_id, status__in=("held", "running")
    ).update(
        status=status,
        result=msgspec.to_builtins(parts),
        duration_ms=duration_ms,
        widgets=widgets,
        stops=stops,
        outcome_unknown=outcome_unknown,
        ended_at=Now(),
        attempt=ref.attempt,
    )
    if not updated:
        raise LeaseLost(ref.run_id)


def relabel_call(ref: RunRef, call_id: str, running: str | None, completed: str | None) -> None:
    """What clients show beside a call that works; None leaves a label as it is."""
    labels = {"running_label": running, "completed_label": completed}
    given = {name: label for name, label in labels.items() if label}
    if given:
        rows = ToolCall.objects.filter(pk=call_id, run_id=ref.run_id)
        rows.update(**given, attempt=ref.attempt)


def advance_last_seq(ref: RunRef, seq: int) -> None:
    """Events up to this one count, whatever becomes of this attempt."""
    Run.objects.filter(pk=ref.run_id, attempt=ref.attempt, last_seq__lt=seq).update(last_seq=seq)


def remove_messages(ref: RunRef) -> None:
    """Take the run's messages and calls out of the history (rollback)."""
    _, by_model = Message.objects.filter(run_id=ref.run_id).delete()
    gone = by_model.get(Message._meta.label, 0)
    Session.objects.filter(pk=ref.session_id).update(message_count=F("message_count") - gone)


def finish_run(ref: RunRef, state: RunState, last_seq: int, error: dict[str, Any] | None) -> None:
    """End the run; its unused numbers go back. After its last event, in the same transaction."""
    together = Together()
    together.say(
        "UPDATE sessions_app_run SET status = 'done', state = %s, turns = %s, reason = %s,"  # noqa: S608
        " error = %s, last_seq = %s, ended_at = statement_timestamp(), lease_until = NULL"
        f" WHERE {HELD}",
        [
            _to_json(state),
            state.turn,
            state.reason or "",
            error and Jsonb(error),
            last_seq,
            ref.run_id,
            ref.attempt,
        ],
        LeaseLost(ref.run_id),
    )
    together.say(
        "UPDATE sessions_app_session SET status = 'active', reserved_seq = %s,"
        " updated_at = statement_timestamp(), last_message_at = statement_timestamp()"
        " WHERE id = %s",
        [last_seq, ref.session_id],
    )
    ended = RunFinished(ref.run_id, ref.session_id, state.reason or "")
    news.say(together, ref.session_id, ended, SessionUpdated(ref.session_id, "active"))
    together.send()


def _to_json(state: RunState) -> Jsonb:
    return Jsonb(state, dumps=msgspec.json.encode)


def to_moment(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC)


def images_of(session_id: str, ids: set[str]) -> dict[str, ImagePart]:
    """Stored images as base64 parts, by attachment id."""
    rows = Attachment.objects.filter(session_id=session_id, pk__in=ids)
    return {
        row.pk: ImagePart(
            media_type=row.media_type, data=base64.b64encode(bytes(row.data)).decode()
        )
        for row in rows
    }
