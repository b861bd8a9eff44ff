"""Big lists of the admin: pages by place, filters with and without an index, words said."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agentsite.operations.models import AuditEntry
from agentsite.rows.keyset import WALK, make_place, read_place
from sessions_app.actions import RunRef, settle_call
from sessions_app.models import ModelCall, Run, Session, ToolCall
from sessions_app.searching import find_spoken
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
    lost = make_run(make_session(scope_id="lost"), "running", words="Gone", scope_id="lost")
    ref = RunRef(lost.pk, 1, lost.session_id, "lost")
    ToolCall.objects.filter(run=lost).update(status="running")
    settle_call(ref, lost.tool_calls.get().pk, "interrupted", (), 0, [], outcome_unknown=True)
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
        "outcome=unknown": [lost],
        "outcome=unknown&scope=acme": [],
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
    assert Session.objects.count() == 3


def rest_of(text: str) -> str:
    return text.split('id="result_list"')[-1]


@requirement("admin.lists")
def test_a_model_call_is_found_by_the_ids_of_its_run_and_session_however_old(
    staff: Client,
) -> None:
    run = make_run(make_session())
    call = ModelCall.objects.get(run_id=run.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sessions_app_modelcall SELECT (jsonb_populate_record(c,"
            " jsonb_build_object('id', c.id + n, 'run_id', 'run_other', 'session_id', 'sess_other',"
            " 'created_at', c.created_at + n * interval '1 second'))).*"
            " FROM sessions_app_modelcall c, generate_series(1, %s) n WHERE c.id = %s",
            [WALK + 100, call.pk],
        )
    base = reverse("admin:sessions_app_modelcall_changelist")
    page = reverse("admin:sessions_app_modelcall_change", args=[call.pk])
    for term in (run.pk, run.session_id):
        text = look(staff, f"{base}?q={term}&purpose=main")
        assert page in rest_of(text), term
        assert "looked through" not in text, term
    assert "looked through back to" in look(staff, f"{base}?q=no-such-model")


@requirement("admin.lists")
def test_a_second_filter_is_looked_for_in_bounded_stretches_both_ways(staff: Client) -> None:
    first = make_run(make_session(), scope_id="acme")
    failed = (WALK + 300, 2 * WALK + 300)
    with connection.cursor() as cursor:
        cursor.execute(MANY, [0, 2 * WALK + 400, first.pk])
    ids = [f"run_many{number}" for number in failed]
    Run.objects.filter(pk__in=ids).update(reason="error")
    base = reverse("admin:sessions_app_run_changelist")
    query = f"{base}?scope=acme&outcome=error"
    text, pages = look(staff, query), []
    while (towards := turn(text, "next")) is not None:
        pages.append(listed(text))
        assert "looked through back to" in text
        text = look(staff, base + towards)
    assert [*pages, listed(text)] == [[], [ids[0]], [ids[1]]]
    back = []
    while (towards := turn(text, "prev")) is not None:
        text = look(staff, base + towards)
        back.append(listed(text))
    assert back[:2] == [[ids[0]], []], "bounded on the way back as well"
    with CaptureQueriesContext(connection) as asked:
        oldest = Run.objects.order_by("created_at").values_list("created_at", "pk")[0]
        text = look(staff, f"{query}&newer={make_place(oldest)}")
    assert listed(text) == [ids[1]]
    assert "looked through on to" in text
    bounded = [each["sql"] for each in asked if '"created_at" <= ' in each["sql"]]
    assert any("'error'" in sql for sql in bounded)
    for query, walked in {
        "outcome=live&scope=acme": False,
        "said=words&outcome=error": False,
        "outcome=error": False,
        "agent=desk&outcome=good": True,
    }.items():
        text = look(staff, f"{base}?{query}&created_at_to_0=2999-01-01")
        assert ("looked through" in text) == walked, query


@requirement("admin.lists")
@pytest.mark.parametrize(
    "address",
    [
        "run/?q=acme 9999-12-31",
        "run/?q=acme 0001-01-01 00:10",
        "run/?created_at_from_0=0001-01-01&created_at_to_0=9999-12-31",
        "usageday/?until=0001-01-05",
        "usageday/?from=0001-01-01&until=9999-12-31",
        "usageday/scope/?until=0001-01-05",
        "usageday/compare/?until=0001-01-01",
        "usageday/csv/?until=0001-01-01",
    ],
)
def test_days_at_the_ends_of_the_calendar_are_answered(staff: Client, address: str) -> None:
    make_run(make_session())
    answer = staff.get(f"/admin/sessions_app/{address}")
    assert answer.status_code == 200


@requirement("admin.lists")
def test_a_made_up_place_is_the_first_page(staff: Client) -> None:
    run = make_run(make_session())
    call = ModelCall.objects.get(run_id=run.pk)
    base = reverse("admin:sessions_app_modelcall_changelist")
    page = reverse("admin:sessions_app_modelcall_change", args=[call.pk])
    for key in ("abc", "1e5", "²", "9" * 50):
        for towards in ("older", "newer"):
            place = make_place((call.created_at, key))
            assert look(staff, f"{base}?{towards}={place}"), (towards, key)
    assert page in rest_of(look(staff, f"{base}?older={make_place((call.created_at, 'abc'))}"))


@requirement("admin.lists")
def test_words_of_a_time_are_looked_for_in_that_time(staff: Client) -> None:
    old = make_run(make_session(), "running", words="The kettle leaks")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sessions_app_run SET created_at = '2026-03-04 12:00Z' WHERE id = %s;", [old.pk]
        )
        cursor.execute(
            "UPDATE sessions_app_message SET created_at = '2026-03-04 12:00Z' WHERE run_id = %s",
            [old.pk],
        )
        newer = make_run(make_session(), "running", words="The kettle leaks")
        # More messages of later than are looked at; words in all of them, and rare ones.
        cursor.execute(
            "INSERT INTO sessions_app_message (id, session_id, run_id, attempt, scope_id, position,"
            " role, parts, aside, partial, created_at) SELECT 'msg_many' || n, m.session_id,"
            " m.run_id, 1, '', 1000000 + n, 'user', m.parts, '', false, now()"
            " FROM sessions_app_message m, generate_series(1, 1100) n WHERE m.run_id = %s"
            " AND m.role = 'user'",
            [newer.pk],
        )
    base = reverse("admin:sessions_app_run_changelist")
    assert listed(look(staff, f"{base}?q=kettle 2026-03-04 12:10")) == [old.pk]
    span = "created_at_from_0=2026-03-04&created_at_to_0=2026-03-04"
    assert listed(look(staff, f"{base}?said=kettle&{span}")) == [old.pk]
    assert listed(look(staff, f"{base}?q=kettle 2026-03-05")) == []
    assert find_spoken("kettle", None) != find_spoken("kettle", None, SPAN)
    for scope in (None, ""):
        assert find_spoken("kettle", scope, SPAN) == [(old.session_id, old.pk)]
        assert find_spoken("kettle -leaks", scope, SPAN) == []
    with connection.cursor() as cursor:  # the test is one transaction, whose end is no search
        cursor.execute("SET LOCAL statement_timeout = 0")


SPAN = (dt.datetime(2026, 3, 4, tzinfo=dt.UTC), dt.datetime(2026, 3, 5, tzinfo=dt.UTC))


@requirement("admin.lists")
def test_a_session_is_exported_with_all_of_its_runs(staff: Client) -> None:
    session = make_session()
    runs = [make_run(session, words=words) for words in ("First", "Second")]
    there = reverse("admin:sessions_app_session_export", args=[quote(session.pk)])
    assert "../export/" in look(
        staff, reverse("admin:sessions_app_session_change", args=[quote(session.pk)])
    )
    answer = staff.get(there)
    assert answer["Content-Disposition"] == f'attachment; filename="{session.pk}.json"'
    told = json.loads(answer.content)
    assert told["format"] == "agentsite-session/1"
    assert told["session"]["id"] == session.pk
    assert [each["run"]["id"] for each in told["runs"]] == [run.pk for run in runs]
    assert "Second" in json.dumps(told["runs"][1]["messages"])
    assert AuditEntry.objects.get(action="session.export").subject == session.pk
    missing = reverse("admin:sessions_app_session_export", args=["sess_none"])
    assert staff.get(missing).status_code == 404
    user = User.objects.create_user("bo", is_staff=True)
    user.user_permissions.add(
        Permission.objects.get(codename="view_session", content_type__app_label="sessions_app")
    )
    other = Client()
    other.force_login(user)
    assert other.get(there).status_code == 403
