"""What operators do to runs: stop, answer, repeat. Each is a row and a word to the hosts.

Law: nothing here drives a run. What must go on is offered to all processes, and whoever is
faster takes it; the heartbeat finds what nobody heard.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
from django.db import connection, transaction

from agentsite.engine.ids import make_id
from agentsite.engine.messages import Message as HistoryMessage, Part
from agentsite.engine.steps import RunState
from agentsite.engine.transcript import tell_time
from sessions_app import interactions, leases, log, queue
from sessions_app.actions import NewRun, SessionNotFound
from sessions_app.interactions import Answer
from sessions_app.models import Interaction, Message, Run

UNASKED = ("replay", "queued")
"""Of a run's request: what a repetition does not take over."""


class NotNow(Exception):
    """The run is not in a state for this; the message says why, to a person."""


def new_id(prefix: str) -> str:
    """A new id."""
    return make_id(prefix, os.urandom(16))


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def offer(run_id: str) -> None:
    """Tell all processes that somebody should take a run. Inside the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [log.CHANNEL, f"?{run_id}"])


def interrupt(run: Run) -> None:
    """Ask for a run's end; one that only waits in the queue is forgotten. Raises `NotNow`."""
    with transaction.atomic():
        if Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED).delete()[0]:
            return
        live = Run.objects.live().filter(pk=run.pk).exists()
        if not live or leases.request_interrupt(run.session_id) != run.pk:
            raise NotNow("The run has ended already: there is nothing to stop.")
        offer(run.pk)


def answer(question: Interaction, given: Answer) -> None:
    """Answer a question for its user. Raises `NotNow`."""
    try:
        with transaction.atomic():
            run_id = interactions.give_answer(
                question.session_id, question.scope_id, question.pk, given
            )
            offer(run_id)
    except interactions.AlreadyAnswered as error:
        raise NotNow("Somebody has answered it already.") from error
    except (interactions.InteractionExpired, interactions.InteractionNotFound) as error:
        raise NotNow("The question is not open any more.") from error


def retry(run: Run) -> str:
    """Queue the message of a finished run once more, in its session; the new run's id.

    Raises `NotNow`.
    """
    if run.status != Run.Status.DONE:
        raise NotNow("The run has not ended: stop it first, or wait for its end.")
    if run.request.get("replay"):
        raise NotNow("A replay is not sent again, for its tools would be called: replay it again.")
    new = repetition(run, run.session_id)
    try:
        with transaction.atomic():
            queue.enqueue(new, rank=1, steering=False)
            offer(new.run_id)
    except queue.QueueFull as error:
        raise NotNow("Twenty messages wait for this session already.") from error
    except SessionNotFound as error:
        raise NotNow("The session has expired: its messages are gone.") from error
    return new.run_id


Rename = Callable[[Any], Any]
"""Gives every id inside a JSON value its new one."""


def repetition(
    run: Run,
    session_id: str,
    request: dict[str, Any] | None = None,
    rename: Rename | None = None,
) -> NewRun:
    """A run that is asked the same as an earlier one, not yet written. Raises `NotNow`.

    In a copy of its session (`rename`) it is told the same beside its message as well.
    """
    message = Message.objects.filter(run_id=run.pk, role="user").order_by("position").first()
    if message is None:
        raise NotNow("The message that started this run is not kept any more.")
    parts = rename(message.parts) if rename else message.parts
    at = now_ms()
    old = msgspec.convert(run.state, RunState)
    kept = {name: value for name, value in run.request.items() if name not in UNASKED}
    return NewRun(
        session_id=session_id,
        new_session=False,
        agent=run.agent,
        scope_id=run.scope_id,
        session_type="chat",
        provider="",
        model="",
        run_id=new_id("run"),
        message=HistoryMessage("user", msgspec.convert(parts, tuple[Part, ...]), new_id("msg")),
        aside=message.aside if rename else tell_time(at),
        api_message={},
        attachments=(),
        agent_version=run.agent_version,
        agent_hash=run.agent_hash,
        state=RunState(max_turns=old.max_turns, max_tool_repeats=old.max_tool_repeats),
        request={**kept, **(request or {})},
        owner="",
        lease_seconds=0,
        at=at,
    )
