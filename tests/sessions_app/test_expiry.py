"""Sessions become idle, then expire; what goes and what stays."""

from __future__ import annotations

import datetime as dt
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.models import ForeignKey
from django.utils import timezone

from agentsite.operations.feedback import Rated, rate
from agentsite.operations.models import Feedback
from sessions_app.expiry import (
    StillLive,
    age_sessions,
    delete_session,
    dependents,
    empty_queue,
)
from sessions_app.keys import find_key, forget_old_keys
from sessions_app.models import (
    Attachment,
    EventBatch,
    IdempotencyKey,
    Message,
    ModelCall,
    Run,
    Session,
    Signal,
    ToolCall,
)
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db
TTL = 100
CONTENT = (Message, ToolCall, Attachment, EventBatch)


def status_of(session: Session) -> str:
    session.refresh_from_db()
    return session.status


@pytest.mark.parametrize(
    ("age", "before", "after"),
    [
        (99, "active", "active"),
        (101, "active", "idle"),
        (201, "active", "expired"),
        (150, "idle", "idle"),
        (201, "idle", "expired"),
        (999, "archived", "archived"),
        (999, "running", "running"),
        (999, "waiting", "waiting"),
    ],
)
def test_ages(age: float, before: str, after: str) -> None:
    session = make_session(age, status=before)
    age_sessions(TTL, 0)
    assert status_of(session) == after


@pytest.mark.parametrize("status", ["queued", "running", "waiting"])
def test_a_session_with_work_before_it_does_not_age(status: str) -> None:
    session = make_session(999)
    make_run(session, status)
    age_sessions(TTL, 0)
    assert status_of(session) == "active"


def test_never_means_never() -> None:
    session = make_session(10**9)
    aged = age_sessions(0, 0)
    assert (aged.idle, aged.expired, status_of(session)) == (0, 0, "active")


def test_of_an_expired_session_the_figures_stay() -> None:
    session = make_session(201, title="Kept", message_count=2, input=10, cost_micros=7)
    run = make_run(session)
    fresh = make_session(1)
    make_run(fresh)
    Signal.objects.create(run=run, kind="title")
    aged = age_sessions(TTL, 0)
    assert (aged.idle, aged.expired, aged.purged) == (1, 1, 1)
    session.refresh_from_db()
    kept = (session.title, session.message_count, session.input, session.cost_micros)
    assert kept == ("Kept", 2, 10, 7)
    for model in CONTENT:
        assert not model.objects.filter(session=session).exists()
        assert model.objects.filter(session=fresh).exists()
    run.refresh_from_db()
    assert (run.state, run.request) == ({}, {})
    assert ModelCall.objects.filter(session_id=session.pk).count() == 1
    assert age_sessions(TTL, 0).purged == 0


@requirement("http.idempotency")
def test_a_key_outlives_the_content_of_its_session() -> None:
    session = make_session(201)
    run = make_run(session)
    for key, hours in (("new", 23), ("old", 25)):
        IdempotencyKey.objects.create(
            agent="desk", key=key, body_hash="h", session=session, run_id=run.pk,
            created_at=timezone.now() - dt.timedelta(hours=hours),
        )  # fmt: skip
    assert age_sessions(TTL, 0).purged == 1
    used = find_key("desk", "", "new", "h")
    assert used is not None
    assert (used.run_id, used.same_body) == (run.pk, True)
    assert find_key("desk", "", "old", "h") is None
    assert forget_old_keys() == 1
    assert delete_session(session.pk, "")
    assert find_key("desk", "", "new", "h") is None


def test_retention_keeps_the_content_longer() -> None:
    session = make_session(250)
    make_run(session)
    assert age_sessions(TTL, 100).purged == 0
    assert status_of(session) == "expired"
    assert Message.objects.filter(session=session).exists()
    assert age_sessions(TTL, 40).purged == 1


def test_more_than_one_step_is_taken() -> None:
    for _ in range(230):
        make_session(290)
    with_content = [make_session(290) for _ in range(3)]
    for session in with_content:
        make_run(session)
    aged = age_sessions(TTL, 0)
    assert (aged.idle, aged.expired, aged.purged) == (233, 233, 3)


def test_the_command_says_what_it_did(settings: object) -> None:
    settings.AMODAL_SESSION_TTL = TTL  # type: ignore[attr-defined]  # pytest-django's proxy
    make_session(101)
    out = StringIO()
    call_command("expiresessions", stdout=out)
    assert out.getvalue().splitlines() == [
        "1 became idle, 0 expired, the content of 0 deleted",
        "0 expired documents, 0 idempotency keys, 0 events of the bus deleted",
    ]


def test_deletion_takes_everything_of_one_scope_alone() -> None:
    session = make_session(scope_id="a")
    make_run(session)
    assert not delete_session(session.pk, "b")
    assert delete_session(session.pk, "a")
    assert not Session.objects.filter(pk=session.pk).exists()
    for model in (*CONTENT, Run):
        assert not model.objects.filter(session_id=session.pk).exists()
    assert ModelCall.objects.filter(session_id=session.pk).exists()
    assert not delete_session(session.pk, "a")


def test_a_live_run_is_not_deleted_unasked() -> None:
    session = make_session()
    make_run(session, "waiting")
    with pytest.raises(StillLive):
        delete_session(session.pk, "")
    assert delete_session(session.pk, "", even_if_live=True)


def test_the_queue_can_be_emptied() -> None:
    session = make_session()
    run = make_run(session, "queued")
    Run.objects.filter(pk=run.pk).update(first_seq=0)
    empty_queue(session.pk)
    assert not Run.objects.filter(pk=run.pk).exists()


@requirement("ops.feedback")
def test_thumbs_outlive_the_conversation_but_not_the_session() -> None:
    session = make_session(201, status="idle")
    run = make_run(session)
    rate(Rated("desk", "", session.pk, run.pk, "msg_1", "down", "Wrong", "How?", "So.", [], ""))
    assert age_sessions(TTL, 0).purged == 1
    assert not Message.objects.filter(session_id=session.pk).exists()
    assert Feedback.objects.get().run_id == run.pk
    assert delete_session(session.pk, "")
    assert not Feedback.objects.exists()


def test_no_table_that_points_at_a_session_is_forgotten() -> None:
    pointing = {
        model
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey) and field.related_model in (Session, Run)
    }
    assert {model for model, _ in dependents()} == pointing
