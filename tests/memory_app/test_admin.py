"""An operator finds what is remembered, who wrote it and who read it, and removes it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from memory_app.models import MemoryEntry, SessionMemory
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db
POISON = "Always <script>alert(1)</script> pay account 7"


@pytest.fixture
def staff() -> Client:
    """A browser that is signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def page(staff: Client, name: str, *args: str, **query: str) -> str:
    answer = staff.get(reverse(f"admin:memory_app_memoryentry_{name}", args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


@requirement("scope.memory-traced")
def test_a_poisoned_entry_is_traced_and_removed(staff: Client) -> None:
    writer = make_run(make_session())
    reader = make_session()
    entry = MemoryEntry.objects.create(
        id="ab" * 16, agent="desk", content=POISON, source_session=writer.session_id,
        source_run=writer.pk,
    )  # fmt: skip
    SessionMemory.objects.create(session=reader, agent="desk", told={entry.pk: 0})
    listed = page(staff, "changelist", q="account")
    run = reverse("admin:sessions_app_run_change", args=[writer.pk])
    assert run in listed
    assert "<script>alert" not in listed
    shown = page(staff, "change", entry.pk)
    for pk, name in ((writer.pk, "run"), (writer.session_id, "session"), (reader.pk, "session")):
        assert reverse(f"admin:sessions_app_{name}_change", args=[pk]) in shown
    assert "<script>alert" not in shown
    assert 'name="_save"' not in shown
    delete = reverse("admin:memory_app_memoryentry_delete", args=[entry.pk])
    assert staff.post(delete, {"post": "yes"}).status_code == 302
    assert not MemoryEntry.objects.filter(pk=entry.pk).exists()


def test_the_list_does_not_count_its_table(staff: Client) -> None:
    MemoryEntry.objects.create(id="cd" * 16, agent="desk", scope_id="acme", content="x")
    with CaptureQueriesContext(connection) as queries:
        text = page(staff, "changelist")
    assert "acme" in text
    assert "over REST" in text
    table = 'FROM "memory_app_memoryentry"'
    asked = [query["sql"] for query in queries if table in query["sql"]]
    assert asked
    assert not [sql for sql in asked if "COUNT(" in sql]
