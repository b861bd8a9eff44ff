"""What operators may do with a replay: it stays a replay, or goes on as a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from sessions_app import operating
from sessions_app.forking import fork, start_replay
from sessions_app.models import Run, Session
from sessions_app.operating import NotNow
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db


def make_replay() -> Run:
    session = make_session(session_type=Session.REPLAY)
    run = make_run(session)
    request = {"replay": {"run": "run_of_then"}}
    fields = {"first_seq": 1, "last_seq": 2, "request": request}
    Run.objects.filter(pk=run.pk).update(**fields)
    run.refresh_from_db()
    return run


@requirement("admin.replay")
def test_a_replay_is_not_sent_again_with_real_tools() -> None:
    run = make_replay()
    staff = Client()
    staff.force_login(User.objects.create_superuser("ada"))
    address = reverse("admin:sessions_app_run_change", args=[run.pk])
    text = staff.get(address).content.decode()
    assert "../fork/" in text
    assert "../retry/" not in text
    with pytest.raises(NotNow, match="A replay is not sent again"):
        operating.retry(run)
    assert not Run.objects.filter(status="queued").exists()


@requirement("admin.actions")
def test_a_message_that_is_sent_again_may_still_title_its_session() -> None:
    run = make_run(make_session())
    Run.objects.filter(pk=run.pk).update(request={"make_title": True}, reason="error")
    run.refresh_from_db()
    operating.retry(run)
    assert Run.objects.get(status="queued").request["make_title"] is True


@requirement("admin.replay")
def test_a_fork_of_a_replay_is_a_conversation_as_any_other() -> None:
    run = make_replay()
    assert fork(run).session_type == "chat"
    other = make_run(make_session(session_type="admin"))
    assert fork(other).session_type == "admin"


@requirement("admin.actions")
def test_copied_runs_say_of_which_they_are_copies() -> None:
    run = make_run(make_session(), words="How late is it?")
    Run.objects.filter(pk=run.pk).update(first_seq=1, last_seq=2)
    run.refresh_from_db()
    copy = fork(run).runs.get()
    assert copy.copy_of == run.pk
    assert fork(copy).runs.get().copy_of == copy.pk
    staff = Client()
    staff.force_login(User.objects.create_superuser("ada"))
    runs = reverse("admin:sessions_app_run_changelist")
    assert staff.get(runs).content.decode().count("Copy: How late is it?") == 2
    own = staff.get(runs, {"kind": "own"}).content.decode()
    assert "How late is it?" in own and "Copy: " not in own
    page = staff.get(reverse("admin:sessions_app_run_change", args=[copy.pk])).content.decode()
    assert run.pk in page


@requirement("admin.replay")
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"model": "", "system": None, "skills": {}}, {}),
        ({"model": "", "system": "", "skills": {}}, {"system": ""}),
        (
            {"model": "a/b", "system": None, "skills": {"x": ""}},
            {"model": "a/b", "skills": {"x": ""}},
        ),
    ],
)
def test_an_emptied_prompt_is_another_than_one_left_as_it_was(
    given: dict[str, Any], kept: dict[str, Any]
) -> None:
    run = make_run(make_session())
    state = {"max_turns": 5, "max_tool_repeats": 3}
    Run.objects.filter(pk=run.pk).update(state=state)
    run.refresh_from_db()
    new = Run.objects.get(pk=start_replay(run, given))
    assert new.request["replay"] == {"run": run.pk, **kept}
