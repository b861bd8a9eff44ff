"""Keys and scopes in the admin: made, shown once, revoked; blocked, exported, erased."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app.api_keys import ApiKey, find_key, fingerprint
from sessions_app.costing import Question, list_lines
from sessions_app.models import ModelCall, Session
from sessions_app.scopes import Scope, read_facts, save_credentials
from sessions_app.usage import rebuild
from tests.requirements import requirement
from tests.sessions_app.rows import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sealed(settings: Any) -> None:
    """Keys of this test's own: a fresh checkout has none."""
    settings.AGENT_SECRET_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def staff() -> Client:
    """A browser that is signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.status_code
    return str(answer.content.decode())


@requirement("scope.key")
def test_a_key_is_shown_once_and_stored_as_a_hash(staff: Client) -> None:
    given = {
        "name": "shop", "role": "admin", "agents": "desk\n", "scopes": "acme\n acme:* \nacme",
        "rate_limit": "60", "expires_at_0": "", "expires_at_1": "",
    }  # fmt: skip
    shown = text_of(staff.post(reverse("admin:sessions_app_apikey_add"), given))
    found = re.search(r"ak_[A-Za-z0-9]{40}", shown)
    assert found
    key = ApiKey.objects.get()
    assert (key.key_hash, key.created_by) == (fingerprint(found[0]), "ada")
    assert (key.scopes, key.agents, key.tokens) == (["acme", "acme:*"], ["desk"], 60.0)
    listed = text_of(staff.get(reverse("admin:sessions_app_apikey_changelist")))
    one = text_of(staff.get(reverse("admin:sessions_app_apikey_change", args=[key.pk])))
    for page in (listed, one):
        assert found[0] not in page
        assert key.key_hash not in page
    assert found[0][:10] in listed
    assert find_key(fingerprint(found[0])) is not None


@requirement("scope.key")
def test_a_key_is_changed_and_revoked_but_never_deleted(staff: Client) -> None:
    staff.post(reverse("admin:sessions_app_apikey_add"), {"name": "a", "role": "user"})
    key = ApiKey.objects.get()
    staff.post(
        reverse("admin:sessions_app_apikey_change", args=[key.pk]),
        {"name": "b", "role": "ops", "agents": "", "scopes": "x", "rate_limit": ""},
    )
    key.refresh_from_db()
    assert (key.name, key.role, key.scopes) == ("b", "ops", ["x"])
    assert find_key(key.key_hash) is not None
    delete = reverse("admin:sessions_app_apikey_delete", args=[key.pk])
    assert staff.post(delete, {"post": "yes"}).status_code == 403
    chosen = {"action": "revoke", "_selected_action": [key.pk]}
    staff.post(reverse("admin:sessions_app_apikey_changelist"), chosen)
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert find_key(key.key_hash) is None


@requirement("scope.rows")
def test_the_list_of_scopes_sums_up_without_counting_tables(staff: Client) -> None:
    for number in range(3):
        Scope.objects.create(agent="desk", scope_id=f"s{number}", label=f"Shop {number}")
    for agent, tokens, micros in (
        ("desk", {"input": 1_000, "output": 200, "reasoning": 34}, 38_795),
        ("desk", {"cache_write_1h": 1}, 0),
        ("bar", {"input": 777_777}, 5),
    ):
        session = make_session(agent=agent, scope_id="s1")
        ModelCall.objects.create(
            session_id=session.pk, run_id="r", agent=agent, scope_id="s1", purpose="main",
            provider="openai", model="gpt", cost_micros=micros, **tokens,
        )  # fmt: skip
    rebuild()
    address = reverse("admin:sessions_app_scope_changelist")
    with CaptureQueriesContext(connection) as queries:
        text = text_of(staff.get(address))
    for shown in ("Shop 0", "Shop 1", "1,235", "$0.038795"):
        assert shown in text
    assert "777" not in text
    today = dt.datetime.now(dt.UTC).date()
    asked = Question(today, today, "scope", agent="desk", scopes=("s1",))
    (line,) = list_lines(asked)
    assert (line.tokens, line.cost_micros) == (1_235, 38_795), "the cost page says the same"
    tables = [
        q["sql"] for q in queries if "sessions_app_session" in q["sql"] and "max(" in q["sql"]
    ]
    assert tables
    assert not [sql for sql in tables if "LIMIT" not in sql]
    assert len(queries) < 12
    assert "Shop 2" in text_of(staff.get(address, {"q": "s2"}))


@requirement("scope.rows", "scope.credentials")
def test_a_scope_is_labelled_blocked_and_keeps_its_secrets(staff: Client) -> None:
    save_credentials("desk", "acme", {"CRM_KEY": "hunter2-of-acme"}, "crm")
    scope = Scope.objects.get()
    page = reverse("admin:sessions_app_scope_change", args=[scope.pk])
    text = text_of(staff.get(page))
    assert "CRM_KEY" in text
    assert "hunter2" not in text
    staff.post(page, {"label": "Acme", "context": '{"team": "blue"}'})
    scope.refresh_from_db()
    assert (scope.label, scope.context) == ("Acme", {"team": "blue"})
    for wrong in ("[1]", '"blue"', "7", "false", '{"team": 7}', '{"team": null}'):
        refused = text_of(staff.post(page, {"label": "Acme", "context": wrong}))
        assert "texts by name" in refused, wrong
    for emptied in ("", "{}", "[]"):
        assert staff.post(page, {"label": "Acme", "context": emptied}).status_code == 302
        scope.refresh_from_db()
        assert scope.context == {}
    Scope.objects.update(context=["rubbish"])  # behind the form
    assert read_facts("acme")["desk"].context == {}
    listed = reverse("admin:sessions_app_scope_changelist")
    for action, blocked in (("block", True), ("unblock", False)):
        staff.post(listed, {"action": action, "_selected_action": [scope.pk]})
        scope.refresh_from_db()
        assert (scope.blocked_at is not None) is blocked


@requirement("scope.erase")
def test_erasing_asks_and_then_leaves_nothing(staff: Client) -> None:
    for scope_id in ("gone", "kept"):
        Scope.objects.create(agent="desk", scope_id=scope_id)
        make_session(agent="desk", scope_id=scope_id)
    scope = Scope.objects.get(scope_id="gone")
    listed = reverse("admin:sessions_app_scope_changelist")
    chosen = {"action": "erase", "_selected_action": [scope.pk]}
    assert "deleted for good" in text_of(staff.post(listed, chosen))
    assert Session.objects.filter(scope_id="gone").exists()
    staff.post(listed, {**chosen, "sure": "yes"})
    assert not Session.objects.filter(scope_id="gone").exists()
    assert [row.scope_id for row in Scope.objects.all()] == ["kept"]
    assert Session.objects.filter(scope_id="kept").exists()
    assert LogEntry.objects.filter(action_flag=3, object_repr__contains="gone").exists()


def test_exporting_leads_to_the_download(staff: Client) -> None:
    scope = Scope.objects.create(agent="desk", scope_id="one")
    chosen = {"action": "export", "_selected_action": [scope.pk]}
    answer = staff.post(reverse("admin:sessions_app_scope_changelist"), chosen)
    assert answer["Location"] == f"/accounts/scopes/{scope.pk}/export"
