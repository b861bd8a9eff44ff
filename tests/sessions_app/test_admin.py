"""What operators see: lists that do not count, a readable transcript, honest money."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app.admin.base import show_money, show_ms
from sessions_app.models import ModelCall, Session
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db
MODELS = ("session", "run", "modelcall")


@pytest.fixture
def staff() -> Client:
    """A browser that is signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def page(staff: Client, name: str, *args: Any, **query: str) -> str:
    """A page's text."""
    answer = staff.get(reverse(f"admin:{name}", args=args), query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def test_the_list_shows_what_a_session_is_and_costs(staff: Client) -> None:
    make_session(title="Blue whale", scope_id="acme", cost_micros=38_795, input=118_913, output=111)
    make_session(title="Unpriced", cost_known=False, cost_micros=5)
    text = page(staff, "sessions_app_session_changelist")
    for shown in ("Blue whale", "acme", "$0.038795", "119,024", "(empty)"):
        assert shown in text
    assert "unknown, $0.000005 of it known" in text


@pytest.mark.parametrize("model", MODELS)
def test_no_list_counts_its_table(staff: Client, model: str) -> None:
    for _ in range(3):
        make_run(make_session())
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page(staff, f"sessions_app_{model}_changelist")
    table = f'FROM "sessions_app_{model}"'
    asked = [query["sql"] for query in queries if table in query["sql"]]
    assert asked
    assert not [sql for sql in asked if "COUNT(" in sql]
    assert len(queries) < 12


@pytest.mark.parametrize(
    ("model", "term", "found"),
    [
        ("session", "sess_{}", True),
        ("session", "acme", True),
        ("session", "whal", True),
        ("session", "acm", False),
        ("run", "run_{}", True),
        ("modelcall", "offline", True),
        ("modelcall", "off", False),
        ("run", "Words", True),
    ],
)
def test_search_by_id_scope_and_title(staff: Client, model: str, term: str, found: bool) -> None:
    session = make_session(title="Blue whale", scope_id="acme")
    run = make_run(session)
    number = {"session": session.pk, "run": run.pk}.get(model, "").partition("_")[2]
    text = page(staff, f"sessions_app_{model}_changelist", q=term.format(number))
    assert ("result_list" in text and "0 results" not in text and "/change/" in text) == found
    page(staff, f"sessions_app_{model}_changelist", q="a\x00b")


def test_filters(staff: Client) -> None:
    make_session(title="Blue", agent="desk", status="idle")
    make_session(title="Red", agent="bench")
    text = page(staff, "sessions_app_session_changelist", agent="bench")
    assert "Red" in text
    assert "Blue" not in text
    text = page(staff, "sessions_app_session_changelist", status__exact="idle")
    assert "Blue" in text
    assert ">Red<" not in text
    make_run(make_session())
    call = ModelCall.objects.get()
    call.delete()
    ModelCall.objects.create(session_id=call.session_id, run_id=call.run_id, cost_micros=None)
    for trouble in ("failed", "unpriced"):
        page(staff, "sessions_app_modelcall_changelist", trouble=trouble)


def test_a_transcript_is_readable_and_harmless(staff: Client) -> None:
    session = make_session(title="T")
    run = make_run(
        session,
        words="<script>alert(1)</script>",
        widgets=({"seq": 1, "widgetType": "metric", "data": {"label": "<b>"}},),
        error={"code": "provider_auth", "message": "no <key>", "at": 0},
    )
    text = page(staff, "sessions_app_session_change", session.pk)
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for shown in ("<code>look</code>", "<code>metric</code>", "no &lt;key&gt;", "$0.038795"):
        assert shown in text
    assert run.pk in text
    assert 'name="_save"' not in text


def test_a_long_transcript_begins_late(staff: Client) -> None:
    session = make_session()
    for _ in range(101):
        make_run(session)
    text = page(staff, "sessions_app_session_change", session.pk)
    assert "2 older messages are left out" in text
    assert text.count('class="ag-message') == 200
    assert page(staff, "sessions_app_session_change", session.pk, all="1").count(
        'class="ag-message') == 202  # fmt: skip


def test_runs_and_model_calls_lead_to_each_other(staff: Client) -> None:
    session = make_session()
    run = make_run(session)
    call = ModelCall.objects.get()
    text = page(staff, "sessions_app_run_change", run.pk)
    assert reverse("admin:sessions_app_session_change", args=[quote(session.pk)]) in text
    assert reverse("admin:sessions_app_modelcall_change", args=[call.pk]) in text
    assert "<code>look</code>" in text
    text = page(staff, "sessions_app_modelcall_change", call.pk)
    assert reverse("admin:sessions_app_run_change", args=[quote(run.pk)]) in text
    Session.objects.all().delete()
    assert f"{session.pk} (deleted)" in page(staff, "sessions_app_modelcall_change", call.pk)


@pytest.mark.parametrize("model", MODELS)
def test_the_engines_rows_are_only_looked_at(staff: Client, model: str) -> None:
    run = make_run(make_session())
    key = {"session": run.session_id, "run": run.pk}.get(model) or ModelCall.objects.get().pk
    assert staff.get(reverse(f"admin:sessions_app_{model}_add")).status_code == 403
    # A session may be deleted, by who may; its page asks first.
    for verb in ("change",) if model == "session" else ("change", "delete"):
        address = reverse(f"admin:sessions_app_{model}_{verb}", args=[key])
        assert staff.post(address, {"post": "yes"}).status_code == 403


def test_strangers_are_sent_to_the_sign_in() -> None:
    answer = Client().get(reverse("admin:sessions_app_session_changelist"))
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]


@pytest.mark.parametrize("name", ["user", "group"])
def test_accounts_look_like_the_rest(staff: Client, name: str) -> None:
    for view in ("changelist", "add"):
        assert "unfold" in page(staff, f"auth_{name}_{view}")


def test_figures_are_honest() -> None:
    assert show_money(None) == "unknown"
    assert show_money(38_795) == "$0.038795"
    assert show_money(1_234_567_890_123) == "$1,234,567.890123"
    assert (show_ms(None), show_ms(9_999), show_ms(12_340)) == ("-", "9,999 ms", "12.3 s")
