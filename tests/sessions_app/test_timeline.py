"""The timeline of a run that is too long for one page: all of it in parts, its faults on each."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agentsite.engine.events import Entry, Noticed, RunResumed, TextStreamed, ToolStarted
from sessions_app import log
from sessions_app.models import EventBatch, ModelCall, Run, ToolCall
from sessions_app.projection import to_ms
from sessions_app.timeline import MOST_EVENTS, MOST_ITEMS, find_event, read_timeline
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db
EVENTS = 2 * MOST_EVENTS + 500
FAILED_AT, RESUMED_AT = 700, 900


@pytest.fixture
def run() -> Run:
    """Of 2,500 events, a second apart: text, a notice in every tenth, faults near its begin."""
    made = make_run(make_session(), "running")
    EventBatch.objects.filter(session_id=made.session_id).delete()  # its numbers are anywhere
    began = timezone.now() - dt.timedelta(seconds=EVENTS)
    Run.objects.filter(pk=made.pk).update(first_seq=1001, created_at=began, last_seq=1000 + EVENTS)
    call = ToolCall.objects.get(run=made)
    failed = began + dt.timedelta(seconds=FAILED_AT)
    ToolCall.objects.filter(pk=call.pk).update(status="error", created_at=failed)
    ModelCall.objects.create(
        session_id=made.session_id, run_id=made.pk, agent="desk", purpose="main",
        provider="scripted", model="offline", error="server", created_at=failed,
    )  # fmt: skip
    start = to_ms(began)
    entries = []
    for number in range(1, EVENTS + 1):
        event = TextStreamed(f"word{number} ")
        if number == FAILED_AT:
            event = ToolStarted(call.pk, "look", {})  # type: ignore[assignment]
        elif number == RESUMED_AT:
            event = RunResumed(2, 1100)  # type: ignore[assignment]
        elif number % 10 == 0:
            event = Noticed(f"Notice {number}.")  # type: ignore[assignment]
        entries.append(Entry(1000 + number, start + number * 1000, event))
    for first in range(0, EVENTS, 50):
        stretch = tuple(entries[first : first + 50])
        log.append([log.Stretch(made.session_id, made.pk, 1, "", stretch)])
    made.refresh_from_db()
    return made


@requirement("admin.timeline")
def test_a_long_run_is_read_in_parts_that_leave_nothing_out(run: Run) -> None:
    page = read_timeline(run)
    assert not page.later
    notices, pages = [], 0
    while True:
        pages += 1
        assert len(page.items) <= MOST_ITEMS
        notices += [i["text"] for i in page.items[::-1] if i.get("of") == "notice"]
        if page.earlier is None:
            break
        page = read_timeline(run, page.earlier)
        assert page.later
    assert pages > 3
    expected = [n for n in range(EVENTS, 0, -10) if n not in (FAILED_AT, RESUMED_AT)]
    assert notices == [f"Notice {n}." for n in expected]


@requirement("admin.timeline")
def test_faults_of_parts_that_are_not_shown_are_told_with_the_way_to_them(run: Run) -> None:
    page = read_timeline(run)
    told = {cause["text"]: cause for cause in page.causes}
    assert set(told) == {
        "look ended with error",
        "scripted/offline failed: server",
        "Attempt 2 began: another process took the run over.",
    }
    for cause in told.values():
        assert not cause["here"]
        there = read_timeline(run, find_event(run, cause["at"]))
        assert cause["anchor"] in {item["anchor"] for item in there.items}, cause
        assert {each["text"]: each["here"] for each in there.causes}[cause["text"]]


@requirement("admin.timeline")
def test_the_page_leads_to_its_parts(run: Run) -> None:
    staff = Client()
    staff.force_login(User.objects.create_superuser("ada"))
    address = reverse("admin:sessions_app_run_change", args=[quote(run.pk)])
    text = staff.get(address).content.decode()
    assert f"Notice {EVENTS}." in text
    assert "Notice 10." not in text
    (failed,) = re.findall(r'href="(\?at=\d+#tc_\w+)"', text)
    query, _, anchor = failed.partition("#")
    assert f'id="{anchor}"' in staff.get(address + query).content.decode()
    (before,) = re.findall(r'href="(\?until=\d+)"', text)
    assert "Its newest part" in staff.get(address + before).content.decode()
    for odd in ("?until=0", "?until=999999999999999", "?at=0", "?at=999999999999999", "?until=x"):
        assert staff.get(address + odd).status_code == 200, odd
