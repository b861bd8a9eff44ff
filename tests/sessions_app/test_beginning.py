"""A run begins in a session that is idle, and only there."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import transaction

from agentsite.engine.messages import Message, TextPart
from agentsite.engine.steps import RunState
from sessions_app import actions
from sessions_app.models import Run, Session
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
    assert actions.begin_run(wish(session)).init.event.run_id == "run_begins"
    assert asked[0] is None


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
