"""Small questions about one session, always within one partition."""

from __future__ import annotations

import msgspec
from django.db import connection

from agentsite.engine.deltas import Usage
from agentsite.engine.messages import Part, TextPart
from sessions_app.log import BLOCK
from sessions_app.models import Message, ModelCall, Run, Session, ToolCall


class RunPlace(msgspec.Struct, frozen=True):
    """Where a run stands in its session's log."""

    run_id: str
    first_seq: int
    last_seq: int
    ended: bool
    agent: str


class PlaceBefore(msgspec.Struct, frozen=True):
    """Number after which a run's `init` stands, or will stand while it is queued."""

    after: int
    steering: str = ""
    """Id of its message, while it may join another run instead."""
    expired: bool = False
    """Its session has expired: what was said in it is not shown any more."""


class Left(msgspec.Struct, frozen=True):
    """What others have left for a run that has ended or is parked."""

    signals: bool
    """Words to it."""
    queued: bool
    """Messages that wait for its session."""
    untitled: bool
    """Its session has no title; nobody has given one, nor a model made one."""


class FoundAnswer(msgspec.Struct, frozen=True):
    """An answer of a session, what it answers, and how it came about."""

    agent: str
    run_id: str
    query: str
    response: str
    tool_calls: list[str]
    model: str


def find_answer(session_id: str, scope_id: str, message_id: str) -> FoundAnswer | None:
    """An assistant message by its id; None for unknown and foreign ones alike."""
    if "\x00" in session_id + message_id:
        return None
    messages = Message.objects.for_scope(scope_id).filter(session_id=session_id)
    answer = messages.filter(pk=message_id, role="assistant").select_related("run").first()
    if answer is None:
        return None
    asked = messages.filter(run=answer.run_id, role="user").order_by("position").first()
    called = ToolCall.objects.filter(run=answer.run_id, scope_id=scope_id, subagent=None)
    priced = ModelCall.objects.filter(run_id=answer.run_id, scope_id=scope_id, purpose="main")
    last = priced.filter(error="").order_by("-id").first()
    return FoundAnswer(
        agent=answer.run.agent,
        run_id=answer.run_id,
        query="" if asked is None else _text_of(asked),
        response=_text_of(answer),
        tool_calls=list(called.order_by("created_at", "position").values_list("name", flat=True)),
        model="" if last is None else f"{last.provider}/{last.model}",
    )


def _text_of(message: Message) -> str:
    return "\n".join(part["text"] for part in message.parts if part.get("kind") == "text")


def read_answer(run_id: str) -> str:
    """What a run came to: the last text that the agent said."""
    said = Message.objects.filter(run_id=run_id, role="assistant").order_by("-position")
    for parts in said.values_list("parts", flat=True).iterator(chunk_size=20):
        read = msgspec.convert(parts, tuple[Part, ...])
        text = "".join(part.text for part in read if isinstance(part, TextPart)).strip()
        if text:
            return text
    return ""


def session_status(session_id: str, scope_id: str) -> str | None:
    """Status of a session; None for unknown and foreign ones alike."""
    if "\x00" in session_id:  # no text column holds one
        return None
    rows = Session.objects.for_scope(scope_id).filter(pk=session_id)
    status: str | None = rows.values_list("status", flat=True).first()
    return status


def agent_of(session_id: str, scope_id: str) -> str | None:
    """Whose conversation a session is; None for unknown and foreign ones alike."""
    if "\x00" in session_id:
        return None
    rows = Session.objects.for_scope(scope_id).filter(pk=session_id)
    agent: str | None = rows.values_list("agent", flat=True).first()
    return agent


def newest_run(session_id: str, scope_id: str) -> RunPlace | None:
    """The newest run of a session that is not expired."""
    run = (
        Run.objects.for_scope(scope_id)
        .filter(session_id=session_id)
        .exclude(session__status=Session.Status.EXPIRED)
        .order_by("-first_seq")
        .first()
    )
    if run is None:
        return None
    ended = run.status == Run.Status.DONE
    return RunPlace(run.pk, run.first_seq, run.last_seq, ended, run.agent)


def spent_by_run(run_id: str) -> tuple[Usage, int | None]:
    """Tokens and micro-dollars (None when unknown) of a run so far; of one that is gone nothing."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:  # its message has joined another run
        return Usage(), 0
    return run.metered, run.cost_micros if run.cost_known else None


def live_run(session_id: str, scope_id: str) -> RunPlace | None:
    """The run that holds the session, if any."""
    run = Run.objects.for_scope(scope_id).live().filter(session_id=session_id).first()
    return run and RunPlace(run.pk, run.first_seq, run.last_seq, False, run.agent)


def find_work(session_id: str, scope_id: str) -> tuple[RunPlace | None, int]:
    """The run that holds the session, if any, and a number before whatever is logged next."""
    live = live_run(session_id, scope_id)
    if live is not None:
        return live, live.last_seq
    rows = Session.objects.for_scope(scope_id).filter(pk=session_id)
    reserved = rows.values_list("reserved_seq", flat=True).first()
    return None, max(0, (reserved or 0) - BLOCK)


def place_before_run(run_id: str, scope_id: str) -> PlaceBefore | None:
    """Where to look for a run; None when it is gone, because its message has joined another."""
    run = Run.objects.for_scope(scope_id).select_related("session").filter(pk=run_id).first()
    if run is None:
        return None
    if run.first_seq:
        expired = run.session.status == Session.Status.EXPIRED
        return PlaceBefore(run.first_seq - 1, expired=expired)
    waits_to_join = run.status == Run.Status.QUEUED and run.steering
    message_id = run.request["queued"]["message"]["id"] if waits_to_join else ""
    return PlaceBefore(max(0, run.session.reserved_seq - BLOCK), message_id)


def find_left(run_id: str, session_id: str) -> Left:
    """What waits behind a run's last commit.

    That one changed the session's row, which whoever leaves something locks: what comes later
    finds no live run and is not left for one.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM sessions_app_signal WHERE run_id = %s),"
            " EXISTS (SELECT FROM sessions_app_run WHERE session_id = %s AND status = 'queued'),"
            " EXISTS (SELECT FROM sessions_app_session WHERE id = %s AND title = '')",
            [run_id, session_id, session_id],
        )
        return Left(*cursor.fetchone())
