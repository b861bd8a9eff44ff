"""A run begins in a session that is idle, and only there."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agentsite.engine.events import Init, TitleChanged
from agentsite.engine.messages import Message, TextPart
from agentsite.engine.steps import RunState
from agentsite.engine.transcript import fold
from sessions_app import actions, log, queue
from sessions_app.models import EventBatch, Run, Session
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db


def wish(session: Session, **fields: Any) -> actions.NewRun:
    """A message for a session that is there."""
    given: dict[str, Any] = {
        "session_id": session.pk, "new_session": False, "agent": session.agent,
        "scope_id": session.scope_id, "session_type": "chat", "provider": "scripted",
        "model": "one", "run_id": "run_begins",
        "message": Message("user", (TextPart("Hello."),), "msg_begins"), "aside": "",
        "api_message": {"role": "user", "text": "Hello."}, "attachments": (),
        "agent_version": "1", "agent_hash": "abc", "state": RunState(), "request": {},
        "owner": "host_me", "lease_seconds": 15, "at": 1_800_000_000_000,
    }  # fmt: skip
    return actions.NewRun(**{**given, **fields})


def begin(session: Session) -> str:
    """The run that the log says has begun."""
    (init,) = actions.begin_run(wish(session)).entries
    assert isinstance(init.event, Init)
    return init.event.run_id


@requirement("runs.busy-reject")
def test_a_session_whose_run_ends_just_now_is_not_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session()
    live = make_run(session, status="running")
    enter, asked = actions._enter_idle, []

    def enter_then_end(new: actions.NewRun, moment: dt.datetime) -> Any:
        asked.append(enter(new, moment))
        Run.objects.filter(pk=live.pk).update(status="done")
        return asked[-1]

    monkeypatch.setattr(actions, "_enter_idle", enter_then_end)
    assert begin(session) == "run_begins"
    assert asked[0] is None


@requirement("runs.busy-reject", "runs.busy-enqueue")
def test_a_session_with_a_queue_is_busy_though_nothing_runs() -> None:
    session = make_session()
    waiting = make_run(session, status="queued")
    with pytest.raises(actions.SessionBusy), transaction.atomic():
        actions.begin_run(wish(session))
    Run.objects.filter(pk=waiting.pk).update(status="done")
    assert begin(session) == "run_begins"


@requirement("runs.busy-enqueue")
def test_the_queues_order_is_that_of_acceptance_whatever_the_clocks_say() -> None:
    session = make_session()
    names = ["run_z", "run_y", "run_x"]
    for number, name in enumerate(names):
        message = Message("user", (TextPart("Hello."),), f"msg_{name}")
        late = wish(session, run_id=name, message=message, at=1_800_000_000_000 - number * 60_000)
        assert queue.enqueue(late, rank=1, steering=False) == number + 1
        if number == 0:  # the database's own clock is set back before the next one comes
            future = timezone.now() + dt.timedelta(hours=1)
            Run.objects.filter(pk=name).update(created_at=future)
    assert [waiting["runId"] for waiting in queue.list_queue(session.pk)] == names
    assert queue.start_next(session.pk, "host_me", 15, 1_800_000_000_000) == names[0]


@requirement("runs.busy-reject")
def test_a_busy_session_is_told_from_one_that_is_not_there() -> None:
    session = make_session()
    make_run(session, status="running")
    with pytest.raises(actions.SessionBusy), transaction.atomic():
        actions.begin_run(wish(session))
    for other in ({"session_id": "sess_nobody"}, {"scope_id": "elsewhere"}, {"agent": "another"}):
        with pytest.raises(actions.SessionNotFound), transaction.atomic():
            actions.begin_run(wish(session, **other))
    Session.objects.filter(pk=session.pk).update(status="expired")
    with pytest.raises(actions.SessionNotFound), transaction.atomic():
        actions.begin_run(wish(session))


@requirement("http.fold")
def test_a_title_from_the_start_is_told_behind_init_in_the_same_commit() -> None:
    new = wish(Session(pk="sess_titled", agent="desk"), new_session=True, title="Nightly")
    begun = actions.begin_run(new)
    assert [type(entry.event) for entry in begun.entries] == [Init, TitleChanged]
    batch = EventBatch.objects.get(session_id="sess_titled")
    assert (batch.first_seq, batch.last_seq) == (1, 2)
    assert fold(log.read("sess_titled", 0)).title == Session.objects.get().title == "Nightly"
    run = Run.objects.get()
    assert (run.first_seq, run.last_seq) == (1, 2)
