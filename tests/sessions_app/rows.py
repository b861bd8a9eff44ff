"""Rows of a finished or live conversation, made without a server."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from django.utils import timezone

from agentsite.engine.deltas import Usage
from agentsite.engine.events import Done, Entry, Init
from sessions_app import log
from sessions_app.models import Attachment, Message, ModelCall, Run, Session, ToolCall

_numbers = itertools.count(1)


def make_session(age: float = 0, **fields: Any) -> Session:
    """A session whose last message is `age` seconds old."""
    moment = timezone.now() - dt.timedelta(seconds=age)
    times = {"created_at": moment, "updated_at": moment, "last_message_at": moment}
    number = next(_numbers)
    return Session.objects.create(id=f"sess_{number:026d}", **{"agent": "desk", **times, **fields})


def make_run(
    session: Session,
    status: str = "done",
    words: str = "Words",
    widgets: tuple[dict[str, Any], ...] = (),
    **fields: Any,
) -> Run:
    """A run with a message, a call, an image, a metering row and two events."""
    number = next(_numbers)
    run = Run.objects.create(
        id=f"run_{number:026d}", session=session, agent=session.agent, status="running",
        state={"turn": 1}, request={"context": {"name": "Ada"}}, **fields,
    )  # fmt: skip
    text = [{"kind": "text", "text": words}]
    about = {"session": session, "run": run, "attempt": 1, "created_at": timezone.now()}
    Message.objects.create(
        id=f"msg_{number}_u", position=number * 10, role="user", parts=text, **about
    )
    answer = Message.objects.create(
        id=f"msg_{number}_1", position=number * 10 + 1, role="assistant", parts=text, **about
    )
    ToolCall.objects.create(
        id=f"tc_{number}", message=answer, position=0, name="look", status="ok",
        result=text, arguments={"n": number}, widgets=list(widgets), **about,
    )  # fmt: skip
    Attachment.objects.create(
        id=f"att_{number}", session=session, media_type="image/png", data=b"x"
    )
    ModelCall.objects.create(
        session_id=session.pk, run_id=run.pk, agent=session.agent, purpose="main",
        provider="scripted", model="offline", input=10, output=2, cost_micros=38_795,
    )  # fmt: skip
    init = Entry(number * 10, 0, Init(session.pk, run.pk, {"id": f"msg_{number}_u"}))
    done = Entry(number * 10 + 1, 0, Done("model_stop", Usage(), 0, run.pk))
    log.append([log.Stretch(session.pk, run.pk, 1, "", (init, done))])
    Run.objects.filter(pk=run.pk).update(status=status)
    run.refresh_from_db()
    return run
