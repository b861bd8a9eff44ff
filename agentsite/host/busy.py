"""A message for a session that is at work: refused, queued, joined, or taken for an answer.

Law: a parked run lets nothing pass but its answer, in any of its forms. Whatever is
accepted is a row before the caller hears of it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from agentsite.engine.messages import TextPart
from agentsite.host.bodies import ChatBody
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.interest import OneRun, Steered
from agentsite.host.lifecycle import Wanted
from agentsite.rows.units import unit
from sessions_app import interactions, leases, lookups, queue
from sessions_app.actions import NewRun, SessionNotFound, find_reuse
from sessions_app.interactions import Answer
from sessions_app.keys import KeyReused
from sessions_app.models import Interaction, Run, Signal

if TYPE_CHECKING:
    from agentsite.host.site import Site

DECISION = re.compile(r"\s*I (approve|deny) the action \(correlation: ([\w-]{1,64})\)\s*")


def decides(text: str) -> bool:
    """Whether a chat message is the agreed sentence that approves or denies an action."""
    return DECISION.fullmatch(text) is not None


def refuse_answer(error: Exception) -> Refusal:
    """What a person is told whose answer is not taken."""
    match error:
        case interactions.WrongAnswer():
            return Refusal(400, "invalid_field", str(error))
        case interactions.SeveralOpen(pending=pending):
            text = 'Several questions are open: name one by "interactionId".'
            return Refusal(409, "several_open", text, {"pendingInteractions": pending})
        case interactions.AlreadyAnswered(first=first):
            text = "The question was answered before; the first answer counts."
            return Refusal(409, "already_answered", text, {"first": first})
        case interactions.InteractionExpired():
            text = "The question is no longer open: its time was over, or its run has ended."
            return Refusal(410, "interaction_expired", text)
        case _:
            text = "The session has no such open question."
            return Refusal(404, "interaction_not_found", text)


async def judge_decision(body: ChatBody, scope_id: str) -> Refusal | None:
    """The refusal of the agreed sentence where it comes too late: it must not become a message."""
    said = DECISION.fullmatch(body.text)
    if said is None or body.sessionId is None:
        return None
    gone = await unit(interactions.find_obstacle, body.sessionId, scope_id, said[2])
    return None if gone is None else refuse_answer(gone)


class Place(msgspec.Struct, frozen=True):
    """Where and how a response follows what became of its message."""

    session_id: str
    run_id: str
    after: int
    interest: OneRun
    queued: int | None = None


async def enter_busy(here: Site, body: ChatBody, wanted: Wanted, grace: float) -> Place:
    """Pass a message on to a busy session. Raises `Refusal`, or `KeyReused` for a repeated one."""
    new = wanted.new
    # In this order: what is asked after `live` was looked up stands behind its last event.
    live, after = await unit(lookups.find_work, new.session_id, new.scope_id)
    pending = await unit(interactions.find_open, new.session_id, new.scope_id)
    if pending:
        return await _answer(here, body, wanted, pending, after, grace)
    if wanted.on_busy == "reject":
        if live is None:  # what waits may have lost the process that was to start it
            await here.runs.start_queued(new.session_id)
        raise await _refuse(new, busy(()))
    rank = 0 if wanted.on_busy in ("interrupt", "rollback") else 1
    steering = wanted.on_busy == "steer"
    try:
        place = await unit(queue.enqueue, new, rank=rank, steering=steering)
    except SessionNotFound as error:
        raise session_not_found() from error
    except queue.QueueFull as error:
        text = f"The session's queue is full: {queue.LONGEST} messages wait."
        raise Refusal(429, "queue_full", text, headers={"Retry-After": "5"}) from error
    if steering and live is not None:
        await unit(_signal, live.run_id, Signal.Kind.STEER)
        await here.runs.take_signals([live.run_id])
        await here.runs.start_queued(new.session_id)  # the live run may have ended meanwhile
        interest: OneRun = Steered(live.run_id, new.run_id, new.message.id, grace)
        return Place(new.session_id, live.run_id, after, interest)
    if rank == 0:
        # Its own run may be the live one by now; that is not the one to stop.
        stop = partial(leases.request_interrupt, new.session_id, spared=new.run_id)
        run_id = await unit(stop, rollback=wanted.on_busy == "rollback")
        if run_id is not None:
            await here.runs.take_signals([run_id])
            await here.runs.claim(run_id)
    await here.runs.start_queued(new.session_id)  # the live run may have ended meanwhile
    interest = OneRun(new.run_id, grace, await_init=True)
    if steering:  # another that waits may begin first, and take it in
        interest = Steered("", new.run_id, new.message.id, grace)
    return Place(new.session_id, new.run_id, after, interest, place if rank else None)


async def _answer(
    here: Site,
    body: ChatBody,
    wanted: Wanted,
    pending: list[Interaction],
    after: int,
    grace: float,
) -> Place:
    """A chat message that answers what the run waits for; `after` is a number before the answer."""
    new = wanted.new
    said = DECISION.fullmatch(body.text)
    words = tuple(part for part in new.message.parts if isinstance(part, TextPart))
    message = msgspec.to_builtins(msgspec.structs.replace(new.message, parts=words))
    if said is not None and any(row.pk == said[2] for row in pending):
        answer = Answer(approved=said[1] == "approve", message=message)
        interaction_id = said[2]
    elif words and len(pending) == 1 and pending[0].kind == Interaction.Kind.ASK_CHOICE:
        answer = Answer(approved=True, answers=body.text, message=message)
        interaction_id = pending[0].pk
    else:
        raise await _refuse(new, busy(tuple(pending)))
    try:
        run_id = await unit(interactions.give_answer_said, new, interaction_id, answer)
    except interactions.REFUSED as error:
        raise (refuse_answer(error) if said is not None else busy(())) from error
    await here.runs.claim(run_id)
    await here.runs.take_signals([run_id])
    others = [row.call_id for row in pending if row.pk != interaction_id]
    return Place(new.session_id, run_id, after, OneRun(run_id, grace, asked=others))


async def _refuse(new: NewRun, refusal: Refusal) -> Refusal | KeyReused:
    """The refusal, unless the same request has given its answer a moment before."""
    used = None if new.key is None else await unit(find_reuse, new)
    return used or refusal


def _signal(run_id: str, kind: Signal.Kind) -> None:
    run = Run.objects.live().filter(pk=run_id).first()
    if run is not None:
        leases.send_signal(run, kind, {})


def busy(pending: tuple[Interaction, ...]) -> Refusal:
    """409, with what the run waits for when it waits."""
    if not pending:
        text = "The session has a run under way. Follow it, stop it, or wait for its end."
        return Refusal(409, "session_busy", text)
    return Refusal(
        409,
        "session_busy",
        "The session waits for an answer. Give it with POST /ask-user-response.",
        {"pendingInteractions": [interactions.to_api(row) for row in pending]},
    )
