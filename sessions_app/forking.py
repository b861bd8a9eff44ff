"""A copy of a conversation up to a run, as a session of its own, to go on or to replay it.

Law: what is copied is told as it was, under new ids and the same numbers; money and metering stay
with the original, so that sums are sums of rows, and each copied run says of which it is one.
Inside one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import models, transaction
from django.db.models.functions import Now

from agentsite.bus.catalogue import SessionCreated
from agentsite.engine.events import TitleChanged
from sessions_app import log, news, queue
from sessions_app.models import (
    Attachment,
    EventBatch,
    Message,
    Run,
    Session,
    Subagent,
    ToolCall,
)
from sessions_app.operating import NotNow, Rename, new_id, now_ms, offer, repetition

UNPAID: dict[str, Any] = {
    "input": 0, "cache_read": 0, "cache_write": 0, "cache_write_1h": 0, "output": 0,
    "reasoning": 0, "cost_micros": 0, "cost_known": True,
}  # fmt: skip


def fork(run: Run) -> Session:
    """A new session with the history up to a finished run, that run included. Raises `NotNow`."""
    replayed = run.session.session_type == Session.REPLAY
    # What goes on from a replay is a conversation as any other.
    return _fork(run, with_run=True, fields={"session_type": "chat"} if replayed else {})[0]


def start_replay(run: Run, replay: dict[str, Any]) -> str:
    """Queue a run again in a copy of what was said before it; the id of the new run.

    `replay` says what is changed (`host.conversation.Replay`). Raises `NotNow`.
    """
    with transaction.atomic():
        fields = {
            "session_type": Session.REPLAY,
            "title": f"Replay of {run.pk}",
            "automation": "",
            "metadata": {"replayOf": run.pk},
        }
        session, rename = _fork(run, with_run=False, fields=fields)
        # An empty prompt is one, and so is none.
        changed = {k: v for k, v in replay.items() if v or (k == "system" and v is not None)}
        new = repetition(run, session.pk, {"replay": {"run": run.pk, **changed}}, rename)
        queue.enqueue(new, rank=1, steering=False)
        offer(new.run_id)
    return new.run_id


def _fork(run: Run, *, with_run: bool, fields: dict[str, Any]) -> tuple[Session, Rename]:
    """The copy, and what gives ids of the source their new ones; `fields` are set on it."""
    if run.status != Run.Status.DONE:
        raise NotNow("The run has not ended: a fork begins where a run ended.")
    with transaction.atomic():
        source = Session.objects.select_for_update(no_key=True).get(pk=run.session_id)
        if source.status == Session.Status.EXPIRED:
            raise NotNow("The session has expired: its messages are gone.")
        last = run.first_seq if with_run else run.first_seq - 1
        ended = source.runs.filter(status=Run.Status.DONE, first_seq__lte=last, first_seq__gt=0)
        runs = list(ended.order_by("first_seq"))
        target = _copy_session(source, runs, fields)
        rename = _rename(source, target, runs)
        _copy(Attachment.objects.filter(session=source), rename)
        for each in runs:
            _copy_run(each, rename)
        beside = EventBatch.objects.filter(session=source, run=None)
        _copy_log(beside.filter(last_seq__lte=target.reserved_seq), rename, attempt=0)
        log.append_beside_runs(target, now_ms(), TitleChanged(target.title))
    return target, rename


def _copy_session(source: Session, runs: Sequence[Run], fields: dict[str, Any]) -> Session:
    messages = Message.objects.filter(run__in=runs).exclude(role="summary").count()
    target = Session.objects.get(pk=source.pk)
    changed = {
        **UNPAID,
        "pk": new_id("sess"),
        "title": f"{source.title or source.pk[:13]} (fork)"[:300],
        "status": Session.Status.ACTIVE,
        "message_count": messages,
        "reserved_seq": runs[-1].last_seq if runs else 0,
        "metadata": {**source.metadata, "forkedFrom": source.pk},
        **dict.fromkeys(("created_at", "updated_at", "last_message_at"), Now()),
        **fields,
    }
    for name, value in changed.items():
        setattr(target, name, value)
    target.save(force_insert=True)
    if target.session_type != Session.REPLAY:
        news.tell(target.pk, SessionCreated(target.pk, "active"))
    return target


def _rename(source: Session, target: Session, runs: Sequence[Run]) -> Rename:
    """Gives every id of the source its new one, wherever it stands in a value."""
    names = {source.pk: target.pk}
    ids = [run.pk for run in runs]
    names |= {pk: new_id("run") for pk in ids}
    for model, prefix in ((Message, "msg"), (ToolCall, "tc"), (Subagent, "agent")):
        keys = model._default_manager.filter(run_id__in=ids).values_list("pk", flat=True)
        names |= {pk: new_id(prefix) for pk in keys}
    kept = Attachment.objects.filter(session=source).values_list("pk", flat=True)
    names |= {pk: new_id("att") for pk in kept}
    # Answers are named after their run and their place (`msg_<run>_<n>`).
    for pk in [name for name in names if name.startswith("msg_")]:
        for run_id in ids:
            if run_id[4:] in pk:
                names[pk] = pk.replace(run_id[4:], names[run_id][4:])

    known = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))

    def rename(value: Any) -> Any:
        if isinstance(value, str):  # an address has its ids inside
            return known.sub(lambda found: names[found[0]], value)
        if isinstance(value, dict):
            return {key: rename(inner) for key, inner in value.items()}
        return [rename(inner) for inner in value] if isinstance(value, list) else value

    return rename


def _copy_run(run: Run, rename: Rename) -> None:
    """Rows of a run may be written while it is live only: it ends when its copy is whole."""
    told = {"status": Run.Status.RUNNING, "attempt": 1, "copy_of": run.pk}
    _copy(Run.objects.filter(pk=run.pk), rename, **told, **UNPAID)
    _copy(Message.objects.filter(run=run).order_by("position"), rename, attempt=1)
    _copy(ToolCall.objects.filter(run=run, subagent=None), rename, attempt=1)
    _copy(Subagent.objects.filter(run=run), rename, attempt=1)
    _copy(ToolCall.objects.filter(run=run).exclude(subagent=None), rename, attempt=1)
    _copy_log(EventBatch.objects.filter(run=run), rename, attempt=1)
    Run.objects.filter(pk=rename(run.pk)).update(status=Run.Status.DONE)


def _copy_log(batches: models.QuerySet[EventBatch], rename: Rename, attempt: int) -> None:
    for batch in batches.order_by("first_seq"):
        entries = rename(msgspec.json.decode(bytes(batch.entries)))
        EventBatch.objects.create(
            session_id=rename(batch.session_id),
            run_id=rename(batch.run_id),
            attempt=attempt,
            scope_id=batch.scope_id,
            first_seq=batch.first_seq,
            last_seq=batch.last_seq,
            entries=msgspec.json.encode(entries),
        )


def _copy(rows: models.QuerySet[Any], rename: Rename, **fields: Any) -> None:
    for row in rows:
        for field in row._meta.concrete_fields:
            if not isinstance(field, models.BinaryField):
                setattr(row, field.attname, rename(getattr(row, field.attname)))
        for name, value in fields.items():
            setattr(row, name, value)
        row._state.adding = True
        row.save(force_insert=True)
