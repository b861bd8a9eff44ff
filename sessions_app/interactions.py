"""Questions to people as rows: opened by a run, answered once, by anybody, anywhere.

Law: single use by a conditional update; an answer, the waking of its run and the key of the
message that brought it are one transaction. Foreign and unknown questions look the same.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from agentsite.bus.catalogue import InteractionClosed, InteractionOpened, SessionUpdated
from agentsite.engine.events import ChoiceAsked, ConfirmationRequired, UserAsked
from agentsite.engine.limits import canonical_json, sha256_hex
from agentsite.engine.steps import RunState
from agentsite.engine.transcript import interaction_to_api
from sessions_app import news
from sessions_app.actions import LeaseLost, NewRun, RunRef, bind_key, find_reuse
from sessions_app.leases import lock_run, send_signal, wake_run
from sessions_app.models import Interaction, Run, Session, Signal

Question = ConfirmationRequired | UserAsked | ChoiceAsked
DUE_AT_ONCE = 50
KINDS: dict[type[Question], Interaction.Kind] = {
    ConfirmationRequired: Interaction.Kind.CONFIRMATION,
    UserAsked: Interaction.Kind.ASK_USER,
    ChoiceAsked: Interaction.Kind.ASK_CHOICE,
}

DECIDED = (Interaction.Status.APPROVED, Interaction.Status.DENIED, Interaction.Status.ANSWERED)
"""By a person."""


class InteractionNotFound(Exception):
    """Unknown or foreign."""


class SeveralOpen(Exception):
    """No id was given and more than one question is open: `pending` lists them."""

    def __init__(self, pending: list[dict[str, Any]]) -> None:
        super().__init__("several questions are open")
        self.pending = pending


class AlreadyAnswered(Exception):
    """`first` is the answer that counted."""

    def __init__(self, first: dict[str, Any]) -> None:
        super().__init__("the question was answered before")
        self.first = first


class InteractionExpired(Exception):
    """Nobody answered in time, or the run ended."""


class WrongAnswer(Exception):
    """Not what the question asks for; its words say what is."""


REFUSED = (InteractionNotFound, SeveralOpen, AlreadyAnswered, InteractionExpired, WrongAnswer)
"""Why an answer is not taken."""


class Answer(msgspec.Struct, frozen=True):
    """What a person said. `approved` decides a confirmation; `answers` fill a question."""

    approved: bool | None
    """None: only answers were given, which is enough for a question."""
    answers: Any = None
    comment: str = ""
    message: dict[str, Any] | None = None
    """The chat message that carried the answer, if one did (`engine.messages.Message`)."""


class GivenAnswer(msgspec.Struct, frozen=True):
    """An answer on its way to its run."""

    interaction_id: str
    call_id: str
    kind: str
    status: str
    answer: Answer | None


def bind(tool: str, arguments: dict[str, Any], call_id: str, scope_id: str) -> str:
    """What an answer is bound to; the executor refuses when anything of it differs."""
    return sha256_hex(tool, canonical_json(arguments), call_id, scope_id)


def open_question(ref: RunRef, question: Question, binding: str, ttl_seconds: float) -> None:
    """Write the row that goes with the event. Inside the step's transaction."""
    Interaction.objects.create(
        id=question.interaction_id,
        session_id=ref.session_id,
        run_id=ref.run_id,
        call_id=question.call_id,
        scope_id=ref.scope_id,
        kind=KINDS[type(question)],
        event=msgspec.to_builtins(question),
        binding=binding,
        expires_at=Now() + dt.timedelta(seconds=ttl_seconds),
    )
    kind = KINDS[type(question)]
    asked = InteractionOpened(question.interaction_id, ref.session_id, ref.run_id, kind)
    news.tell(ref.session_id, asked)


def withdraw_questions(ref: RunRef, call_ids: tuple[str, ...] | None = None) -> None:
    """Close what is open: of these calls, or of the whole run."""
    if call_ids is None:
        news.close_questions(Interaction.Status.WITHDRAWN, "run_id = %s", ref.run_id)
    else:
        those = "run_id = %s AND call_id = ANY(%s)"
        news.close_questions(Interaction.Status.WITHDRAWN, those, ref.run_id, list(call_ids))


def list_pending(session_id: str) -> list[dict[str, Any]]:
    """Open questions as `pendingInteractions[]` shows them, oldest first."""
    rows = Interaction.objects.filter(session_id=session_id, status=Interaction.Status.OPEN)
    return [to_api(row) for row in rows.order_by("created_at", "id")]


def to_api(row: Interaction) -> dict[str, Any]:
    question: Question = msgspec.convert(row.event, Question)
    return interaction_to_api(question)


def find_open(session_id: str, scope_id: str) -> list[Interaction]:
    rows = Interaction.objects.filter(session_id=session_id, scope_id=scope_id)
    return list(rows.filter(status=Interaction.Status.OPEN).order_by("created_at", "id"))


def give_answer(session_id: str, scope_id: str, interaction_id: str | None, answer: Answer) -> str:
    """Answer a question; returns the id of its run, which is awake now.

    Raises `InteractionNotFound`, `SeveralOpen`, `WrongAnswer`, `AlreadyAnswered` or
    `InteractionExpired`.
    """
    return _give(session_id, scope_id, interaction_id, answer, None)


def give_answer_said(new: NewRun, interaction_id: str, answer: Answer) -> str:
    """The same by a chat message, whose idempotency key stands for the awakened run from now on.

    Raises `KeyReused` too; then nothing was written.
    """
    try:
        return _give(new.session_id, new.scope_id, interaction_id, answer, new)
    except IntegrityError as error:  # the same key is just bound in another session
        used = find_reuse(new)
        if used is not None:
            raise used from error
        raise


def _give(
    session_id: str, scope_id: str, interaction_id: str | None, answer: Answer, new: NewRun | None
) -> str:
    with transaction.atomic():
        row = _pick(session_id, scope_id, interaction_id)
        answer = _fit(answer, row.kind)
        lock_run(row.run_id)
        used = None if new is None else find_reuse(new)
        if used is not None:  # sent twice at once: the other one has held the run
            raise used
        if row.kind == Interaction.Kind.CONFIRMATION:
            status = Interaction.Status.APPROVED if answer.approved else Interaction.Status.DENIED
        else:
            status = Interaction.Status.ANSWERED if answer.approved else Interaction.Status.DENIED
        updated = Interaction.objects.filter(
            pk=row.pk, status=Interaction.Status.OPEN, expires_at__gt=Now()
        ).update(
            status=status,
            answer=msgspec.to_builtins(answer),
            comment=answer.comment,
            answered_at=Now(),
        )
        if not updated:
            try:
                row.refresh_from_db()
            except Interaction.DoesNotExist as error:  # its run was rolled back meanwhile
                raise InteractionExpired(row.pk) from error
            raise _why_closed(row)
        news.tell(session_id, InteractionClosed(row.pk, session_id, row.run_id, status))
        _wake(row.run_id)
        if new is not None:
            bind_key(new, row.run_id)
    return str(row.run_id)


def find_obstacle(session_id: str, scope_id: str, interaction_id: str) -> Exception | None:
    """Why a question of the session takes no answer; None for an open or an unknown one."""
    rows = Interaction.objects.filter(session_id=session_id, scope_id=scope_id)
    row = rows.exclude(status=Interaction.Status.OPEN).filter(pk=interaction_id).first()
    return None if row is None else _why_closed(row)


def _why_closed(row: Interaction) -> Exception:
    """Of a question that takes no answer any more; an open one has outlived its time."""
    if row.status in DECIDED:
        return AlreadyAnswered({"status": row.status, "answer": row.answer})
    return InteractionExpired(row.pk)


def _fit(answer: Answer, kind: str) -> Answer:
    """The answer as one to this kind of question: nothing is approved that nobody approved."""
    if kind == Interaction.Kind.CONFIRMATION:
        if answer.approved is None:
            raise WrongAnswer('It asks for a decision: say "approved": true or false.')
        return answer
    if answer.approved is not False and answer.answers is None:
        raise WrongAnswer('It asks for "answers"; only "approved": false goes without.')
    return msgspec.structs.replace(answer, approved=answer.approved is not False)


def _pick(session_id: str, scope_id: str, interaction_id: str | None) -> Interaction:
    rows = Interaction.objects.filter(session_id=session_id, scope_id=scope_id)
    if interaction_id is not None:
        row = rows.filter(pk=interaction_id).first()
        if row is None:
            raise InteractionNotFound(interaction_id)
        return row
    found = find_open(session_id, scope_id)
    if len(found) > 1:
        raise SeveralOpen([to_api(row) for row in found])
    if not found:
        raise InteractionNotFound(session_id)
    return found[0]


def expire_due() -> list[str]:
    """Close questions whose time is over and wake their runs; returns the runs' ids."""
    due = Interaction.objects.filter(status=Interaction.Status.OPEN, expires_at__lte=Now())
    runs = sorted(set(due.order_by("expires_at").values_list("run_id", flat=True)[:DUE_AT_ONCE]))
    for run_id in runs:
        with transaction.atomic():
            lock_run(run_id)
            those = "run_id = %s AND expires_at <= now()"
            if news.close_questions(Interaction.Status.EXPIRED, those, run_id):
                _wake(run_id)
    return runs


def park_run(ref: RunRef, state: RunState, last_seq: int, asked: list[str]) -> None:
    """Let go of a run that waits for a person; its unused numbers go back. Raises `LeaseLost`.

    `asked` are the calls that wait, those of sub-agents included. An answer or a stop that came
    just before makes it claimable at once, so that none is missed: they lock the run's row too.
    """
    updated = Run.objects.filter(
        pk=ref.run_id, attempt=ref.attempt, status=Run.Status.RUNNING
    ).update(
        status=Run.Status.WAITING,
        state=msgspec.to_builtins(state),
        turns=state.turn,
        last_seq=last_seq,
        owner="",
        lease_until=None,
        parked_at=Now(),
    )
    if not updated:
        raise LeaseLost(ref.run_id)
    Session.objects.filter(pk=ref.session_id).update(
        status=Session.Status.WAITING, reserved_seq=last_seq, updated_at=Now()
    )
    news.tell(ref.session_id, SessionUpdated(ref.session_id, "waiting"))
    stopped = Run.objects.filter(pk=ref.run_id, cancel_requested_at__isnull=False).exists()
    if stopped or answers_for(ref.run_id, asked):
        wake_run(ref.run_id)


def _wake(run_id: str) -> None:
    """Wake a parked run, or tell the owner of one that goes on."""
    if wake_run(run_id):
        return
    run = Run.objects.live().filter(pk=run_id).first()
    if run is not None:
        send_signal(run, Signal.Kind.ANSWER, {})


def answers_for(run_id: str, call_ids: list[str]) -> list[GivenAnswer]:
    """What people have said (or not said in time) about these calls."""
    rows = Interaction.objects.filter(run_id=run_id, call_id__in=call_ids).exclude(
        status__in=(Interaction.Status.OPEN, Interaction.Status.WITHDRAWN)
    )
    return [
        GivenAnswer(
            row.pk,
            row.call_id,
            row.kind,
            row.status,
            None if row.answer is None else msgspec.convert(row.answer, Answer),
        )
        for row in rows.order_by("answered_at", "id")
    ]


def find_decided(run_id: str) -> list[str]:
    """Calls of a run about which people have decided, whether it has heard of that or not."""
    rows = Interaction.objects.filter(run_id=run_id, status__in=DECIDED)
    return list(rows.values_list("call_id", flat=True))


def bindings_of(run_id: str, call_ids: tuple[str, ...]) -> dict[str, str]:
    """Call id to what was approved."""
    rows = Interaction.objects.filter(
        run_id=run_id, call_id__in=call_ids, status=Interaction.Status.APPROVED
    )
    return {row.call_id: row.binding for row in rows}


def find_by_call(session_id: str, scope_id: str, call_id: str) -> str:
    """Id of the newest question of a call. Raises `InteractionNotFound`."""
    rows = Interaction.objects.filter(session_id=session_id, scope_id=scope_id, call_id=call_id)
    row = rows.order_by("-created_at").first()
    if row is None:
        raise InteractionNotFound(call_id)
    return str(row.pk)
