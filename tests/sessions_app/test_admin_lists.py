"""Big lists of the admin: pages by place, filters with and without an index, words said."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from sessions_app.admin.keyset import WALK, make_place, read_place
from sessions_app.models import Run, Session
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def look(staff: Client, address: str) -> str:
    answer = staff.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


def listed(text: str) -> list[str]:
    """Ids of the rows, in order."""
    found = re.findall(r"/run/(run_5F\w+)/change/", text.split('id="result_list"')[-1])
    return [each.replace("_5F", "_") for each in dict.fromkeys(found)]


def turn(text: str, towards: str) -> str | None:
    found = re.search(rf'href="(\?[^"]*)" rel="{towards}"', text)
    return found[1].replace("&amp;", "&") if found else None


@requirement("admin.lists")
def test_pages_hold_every_row_once_in_both_directions(staff: Client) -> None:
    session = make_session()
    runs = [make_run(session) for _ in range(70)]
    Run.objects.filter(pk__in=[run.pk for run in runs[:40]]).update(created_at=runs[0].created_at)
    expected = list(Run.objects.order_by("-created_at", "-pk").values_list("pk", flat=True))
    address = base = reverse("admin:sessions_app_run_changelist")
    seen, pages = [], []
    while True:
        text = look(staff, address)
        seen += listed(text)
        pages.append(listed(text))
        older = turn(text, "next")
        if older is None:
            break
        address = base + older
    assert seen == expected
    assert len(pages) == 3
    back = turn(text, "prev")
    assert back
    text = look(staff, base + back)
    assert listed(text) == pages[1]
    newest = turn(text, "prev")
    assert newest
    assert listed(look(staff, base + newest)) == pages[0]
    for wrong in ("x", "===", make_place((runs[0].created_at, "a\x00b"))):
        assert read_place(wrong) is None
        look(staff, f"{base}?older={wrong}")


MANY = """
INSERT INTO sessions_app_run SELECT (jsonb_populate_record(r, jsonb_build_object(
    'id', 'run_many' || n, 'first_seq', 1000 + n, 'created_at', now() - n * interval '1 second',
    'cost_micros', CASE WHEN n = %s THEN 2000000 ELSE 5 END))).*
FROM sessions_app_run r, generate_series(1, %s) n WHERE r.id = %s
"""


@requirement("admin.lists")
def test_a_filter_without_an_index_goes_on_where_it_stopped(staff: Client) -> None:
    first = make_run(make_session())
    dear = WALK + 500
    with connection.cursor() as cursor:
        cursor.execute(MANY, [dear, dear + 100, first.pk])
    base = reverse("admin:sessions_app_run_changelist")
    text = look(staff, f"{base}?cost=100")
    assert listed(text) == []
    assert "looked through back to" in text
    further = turn(text, "next")
    assert further
    assert "cost=100" in further
    text = look(staff, base + further)
    assert listed(text) == [f"run_many{dear}"]


@requirement("admin.lists")
def test_runs_are_found_by_scope_time_words_outcome_and_automation(staff: Client) -> None:
    mine = make_session(scope_id="acme", automation="nightly")
    found = make_run(mine, words="The kettle leaks", scope_id="acme", reason="error")
    other = make_run(make_session(scope_id="other"), words="All is well", scope_id="other")
    day = f"{found.created_at:%Y-%m-%d}"
    base = reverse("admin:sessions_app_run_changelist")
    for query, runs in {
        "q=acme": [found],
        "q=kettles leaking": [found],
        f"q=acme {found.created_at:%Y-%m-%d}": [found],
        f"q=acme {found.created_at:%Y-%m-%d %H:%M}": [found],
        "q=acme 2020-01-01": [],
        "q=acme 2020-01-01 10:00": [],
        f"q={other.pk}": [other],
        f"q={mine.pk}": [found],
        "q=teapot": [],
        "scope=acme": [found],
        "scope=acm": [],
        "said=kettle": [found],
        "said=kettle&scope=other": [],
        "outcome=error": [found],
        "outcome=trouble&scope=acme": [found],
        "outcome=good": [],
        "automation=nightly": [found],
        f"scope=acme&created_at_from_0={day}&created_at_from_1=00:00:00": [found],
        f"created_at_to_0={day}&created_at_to_1=00:00:00": [],
        "cost=unknown": [],
    }.items():
        assert listed(look(staff, f"{base}?{query}")) == [run.pk for run in runs], query
    sessions = reverse("admin:sessions_app_session_changelist")
    for query, shown in {"automation=nightly": True, "said=well": False, "q=kettle": True}.items():
        text = look(staff, f"{sessions}?{query}")
        assert (mine.pk.replace("_", "_5F") in text) == shown, query
    assert Session.objects.count() == 2
