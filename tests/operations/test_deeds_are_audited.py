"""Whatever staff change in the admin stands in the audit log: read off the registry.

Law: every page is tried, with every action it has. A deed that changes any row and writes no
entry about it is a fault, and so is one that the test can make nothing of.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.http import urlencode

from agentsite.operations.models import AuditEntry
from stores_app import specs
from tests.operations.forms import read_form
from tests.operations.staff_rows import AGENT, ROWS, SCOPE, build_agent, registered
from tests.requirements import requirement

pytestmark = pytest.mark.django_db

BESIDE = {
    "operations_auditentry",
    "django_admin_log",
    "django_session",
    "bus_busevent",
    "auth_user",
    "django_celery_beat_periodictasks",
}
"""Tables that tell of changes themselves, or of people's coming and going."""
NEW: dict[str, dict[str, Any]] = {
    "apikey": {"name": "New"},
    "budget": {"kind": "agent", "subject": AGENT, "period": "month", "limit": "3"},
    "priceoverride": {"provider": "openai", "model": "n", "input": "1", "output": "2"},
    "document": {"payload.id": "c"},
    "periodictask": {"name": "New", "task": "a.task"},
    "intervalschedule": {"every": "77", "period": "hours"},
    "crontabschedule": {"minute": "9"},
    "clockedschedule": {"clocked_time_0": "2031-01-01", "clocked_time_1": "10:00"},
    "solarschedule": {"event": "sunset", "latitude": "1", "longitude": "2"},
    "user": {"username": "newcomer", "password1": "a-Long-pass-9", "password2": "a-Long-pass-9"},
    "group": {"name": "New"},
}
"""What is typed to make a new row, by its table."""
STORE = {"agent": AGENT, "scope_id": SCOPE, "store": "customers"}
"""Where a new document shall stand: the page before the form asks it."""
CHANGED: dict[str, dict[str, Any]] = {
    "apikey": {"name": "Other"},
    "scope": {"label": "Other"},
    "budget": {"limit": "4"},
    "priceoverride": {"input": "3"},
    "document": {"payload.state": "sent"},
    "periodictask": {"description": "Other"},
    "intervalschedule": {"every": "78"},
    "crontabschedule": {"minute": "10"},
    "clockedschedule": {"clocked_time_0": "2032-01-01"},
    "solarschedule": {"latitude": "3"},
    "user": {"first_name": "Other"},
    "group": {"name": "Other"},
    "alert": {},
}
"""What is typed into a row's page, by its table; nothing where a page has no field."""
READY: dict[str, dict[str, Any]] = {
    "scope.unblock": {"blocked_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
    "periodictask.enable_tasks": {"enabled": False},
}
"""How a row must be for a deed to have an effect."""
HOSTED = {"evalrun": {"add"}, "scope": {"export"}}
"""Deeds on pages that need a running host; they are tried, and found in the log, with one."""
WITHOUT_EFFECT = {"apikey.budget", "scope.budget", "scope.compare", "alert.change"}
"""Deeds that lead to another page, and change nothing."""


@pytest.fixture
def staff(tmp_path: Path, settings: Any) -> Iterator[Client]:
    """Somebody who may do everything, and an agent whose rows the rows are."""
    settings.AGENTS_DIR = build_agent(tmp_path)
    specs.served_agents.cache_clear()
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    yield client
    specs.served_agents.cache_clear()


def look() -> dict[str, str]:
    """A digest of the rows of every table."""
    models = apps.get_models(include_auto_created=True)
    tables = sorted({m._meta.db_table for m in models if m._meta.managed} - BESIDE)
    each = (
        f"SELECT '{name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"  # noqa: S608 - names of our own tables
        f' FROM "{name}" t'
        for name in tables
    )
    people = (
        "SELECT 'people', md5(coalesce(string_agg((to_jsonb(t) - 'last_login')::text, '|'"
        " ORDER BY id), '')) FROM auth_user t"
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join((*each, people)))
        return dict(cursor.fetchall())


def address(model: type[Model], what: str, *key: Any) -> str:
    named = f"admin:{model._meta.app_label}_{model._meta.model_name}_{what}"
    return reverse(named, args=[quote(each) for each in key])


def deeds(model: type[Model], page: Any) -> list[str]:
    """What a superuser may do on the pages of a table."""
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="ada")
    named = [
        what
        for what, may in (("add", page.has_add_permission), ("change", page.has_change_permission),
                          ("delete", page.has_delete_permission))
        if may(request)
    ]  # fmt: skip
    return [*named, *page.get_actions(request)]


def commit(staff: Client, model: type[Model], deed: str, row: Model) -> Any:
    """Do it as a browser would; the answer."""
    name = str(model._meta.model_name)
    if deed in ("add", "change"):
        path = address(model, deed, *([row.pk] if deed == "change" else []))
        path += f"?{urlencode(STORE)}" if (name, deed) == ("document", "add") else ""
        given: dict[str, Any] = {**read_form(staff.get(path).content.decode())}
        typed = NEW[name] if deed == "add" else CHANGED[name]
        if (name, deed) == ("periodictask", "add"):
            typed = {**typed, "interval": row.serializable_value("interval")}
        return staff.post(path, {**given, **typed})
    if deed == "delete":
        return staff.post(address(model, "delete", row.pk), {"post": "yes"})
    given = {"action": deed, "_selected_action": [row.pk], "post": "yes", "sure": "yes"}
    return staff.post(address(model, "changelist"), given)


def find_faults(staff: Client, model: type[Model], deed: str) -> Iterator[str]:
    named = f"{model._meta.model_name}.{deed}"
    row = ROWS[model]()
    type(row)._base_manager.filter(pk=row.pk).update(**READY.get(named, {}))
    known, before = AuditEntry.objects.count(), look()
    answer = commit(staff, model, deed, row)
    if answer.status_code >= 400:
        yield f"{named}: {answer.status_code}"
    after = look()
    changed = [table for table in after if after[table] != before[table]]
    entries = list(AuditEntry.objects.filter(number__gt=known).order_by("number"))
    if bool(changed) == (named in WITHOUT_EFFECT):
        form = (answer.context or {}).get("adminform")
        yield f"{named} changed {changed} {form and form.form.errors}"
    if changed and not entries:
        yield f"{named} changed {changed}, and nobody was told"
    for entry in entries:
        told = json.loads(entry.details)
        if entry.actor != "ada" or not entry.subject or not (told["before"] or told["after"]):
            yield f"{named}: {entry.actor} {entry.action} {entry.subject} {told}"


def test_every_table_with_pages_has_a_row_to_try_them_on() -> None:
    assert set(registered()) == set(ROWS)


@requirement("admin.audited")
def test_no_deed_of_staff_goes_untold(staff: Client) -> None:
    found, tried = [], set()
    for model, page in registered().items():
        for deed in sorted({*deeds(model, page)} - HOSTED.get(str(model._meta.model_name), set())):
            with transaction.atomic():
                found += find_faults(staff, model, deed)
                transaction.set_rollback(True)
            tried.add(f"{model._meta.model_name}.{deed}")
    assert not found, "\n".join(found)
    assert {"memoryentry.delete_selected", "deadletter.replay", "proposal.accept"} <= tried
    assert len(tried) > 50, sorted(tried)


@requirement("admin.audited")
def test_what_is_not_done_is_not_told(staff: Client) -> None:
    from stores_app.actions import put
    from stores_app.models import Document
    from stores_app.places import Origin
    from stores_app.specs import open_for_staff

    put(open_for_staff(AGENT, SCOPE, "customers"), {"id": "c"}, Origin("api"))
    order = {"number": "1", "state": "new", "customer": "c"}
    put(open_for_staff(AGENT, SCOPE, "orders"), order, Origin("api"))
    customer = Document.objects.get(store="customers")
    answer = staff.post(address(Document, "delete", customer.pk), {"post": "yes"}, follow=True)
    assert "still referred to by orders/1" in answer.content.decode()
    assert Document.objects.filter(pk=customer.pk).exists()
    assert not AuditEntry.objects.exists()
