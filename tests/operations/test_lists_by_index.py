"""Lists of tables that only grow: pages by place, one index or a bounded look, and it is said."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from agentsite.rows.keyset import WALK
from automations_app.filters import OF
from automations_app.models import Automation, AutomationRun, Delivery, InboundDelivery
from stores_app import specs
from tests.operations.staff_rows import ROWS, build_agent, registered
from tests.requirements import requirement

pytestmark = pytest.mark.django_db

BIG = (
    "memory_app.memoryentry",
    "stores_app.document",
    "stores_app.documentversion",
    "stores_app.deadletter",
    "operations.auditentry",
    "operations.feedback",
    "operations.alert",
    "operations.proposal",
    "operations.pinnedtool",
    "automations_app.automationrun",
    "automations_app.occurrence",
    "automations_app.inbounddelivery",
    "automations_app.delivery",
    "sessions_app.scope",
    "sessions_app.session",
    "sessions_app.run",
    "sessions_app.modelcall",
)


@pytest.fixture
def staff(settings: Any, tmp_path: Path) -> Iterator[Client]:
    settings.AGENTS_DIR = build_agent(tmp_path)
    specs.served_agents.cache_clear()
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    yield client
    specs.served_agents.cache_clear()


def address_of(label: str) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


@requirement("admin.lists")
@pytest.mark.parametrize("label", BIG)
def test_pages_are_turned_by_place_and_never_counted(staff: Client, label: str) -> None:
    (model,) = (each for each in registered() if each._meta.label_lower == label)
    ROWS[model]()
    with CaptureQueriesContext(connection) as asked:
        assert staff.get(address_of(label)).status_code == 200
        assert staff.get(address_of(label), {"q": "nowhere at all"}).status_code == 200
    said = " ".join(each["sql"] for each in asked)
    assert "OFFSET" not in re.sub(rf"LIMIT 1 OFFSET {WALK}", "", said)
    assert "COUNT(" not in said
    assert 'SELECT DISTINCT "' not in said


MEMORY = """
INSERT INTO memory_app_memoryentry (id, agent, scope_id, content, category, source_session,
    source_run, created_at, updated_at)
SELECT md5(n::text), 'desk', CASE WHEN n = %s THEN 'acme' ELSE '' END,
    CASE WHEN n = %s THEN 'Likes marmalade.' ELSE 'Likes tea.' END, '', 'sess_' || n, 'run_' || n,
    now() - n * interval '1 second', now() FROM generate_series(1, %s) n
"""


@requirement("admin.lists")
def test_what_is_remembered_is_found_by_ids_at_once_and_by_words_in_stretches(
    staff: Client,
) -> None:
    old = WALK + 50
    with connection.cursor() as cursor:
        cursor.execute(MEMORY, [old, old, old + 10])
        cursor.execute("SELECT md5(%s)", [str(old)])
        key = cursor.fetchone()[0]
    page = address_of("memory_app.memoryentry")
    for term in (key, key[:8], f"run_{old}", f"sess_{old}", "acme"):
        text = staff.get(page, {"q": term}).content.decode()
        assert "marmalade" in text, term
        assert "looked through" not in text, term
    first = staff.get(page, {"q": "marmalade"}).content.decode()
    assert "Likes marmalade." not in first
    assert "looked through back to" in first
    (older,) = re.findall(r'href="(\?[^"]*)" rel="next"', first)
    assert "Likes marmalade." in staff.get(page + older.replace("&amp;", "&")).content.decode()


AUTOMATIONS = """
INSERT INTO automations_app_inbounddelivery (automation_id, scope_id, headers, body, answer_status,
    received_at)
SELECT %(other)s, '', '{}', '', 200, now() - n * interval '1 second'
FROM generate_series(1, %(many)s) n;
INSERT INTO automations_app_delivery (id, automation_run_id, automation_id, scope_id, kind,
    target_index, target_type, target, target_mark, payload, status, attempts, problem, created_at)
SELECT 'msg_' || n, %(run)s, %(mine)s, '', 'result', n, 'webhook', '{}', '', '{}', 'delivered', 1,
    '', now() - n * interval '1 second' FROM generate_series(1, %(many)s) n
"""


@requirement("admin.lists", "automations.admin")
def test_of_one_automation_only_its_own_rows_are_looked_through(staff: Client) -> None:
    mine, other = (
        Automation.objects.create(agent="desk", name=name, title=f"Of {name}", prompt="Go.")
        for name in ("mine", "other")
    )
    run = AutomationRun.objects.create(id="arun_mine", automation=mine, cause="manual")
    then = timezone.now() - dt.timedelta(days=1)
    InboundDelivery.objects.create(
        automation=mine, sender_id="refused-once", body=b"", answer_status=500, received_at=then
    )
    Delivery.objects.create(
        id="msg_dead", automation_run=run, automation=mine, target_type="email", payload={},
        status="dead", created_at=then,
    )  # fmt: skip
    with connection.cursor() as cursor:
        many = {"mine": mine.pk, "other": other.pk, "run": run.pk, "many": WALK + 50}
        cursor.execute(AUTOMATIONS, many)
    of = {OF: mine.pk}
    for label, asked, shown in (
        ("inbounddelivery", {"answer": "failed"}, "refused-once"),
        ("delivery", {"status__exact": "dead"}, "msg_dead"),
        ("delivery", {"status__exact": "dead", "target": "email"}, "msg_dead"),
    ):
        page = address_of(f"automations_app.{label}")
        text = staff.get(page, {**of, **asked}).content.decode()
        assert shown in text and "Of mine" in text, asked
        assert "looked through" not in text, asked
        for nobody in (other.pk, other.pk + 1_000, "x", "9" * 30, "9" * 5_000):
            text = staff.get(page, {OF: nobody, **asked}).content.decode()
            assert shown not in text, (asked, nobody)
    text = staff.get(address_of("automations_app.delivery"), {**of, "target": "email"})
    assert "looked through back to" in text.content.decode()


AUDIT = """
INSERT INTO operations_auditentry (number, at, actor, action, subject, details, previous, hash)
SELECT n, now(), 'ada', 'made.up', 'subject-' || n, '{}', '', '' FROM generate_series(1, %s) n
"""


@requirement("admin.lists")
def test_the_log_is_turned_by_number(staff: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(AUDIT, [100])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    page = address_of("operations.auditentry")
    seen, address = [], page
    while address:
        text = staff.get(address).content.decode()
        seen += re.findall(r"subject-(\d+)<", text)
        older = re.findall(r'href="(\?[^"]*)" rel="next"', text)
        address = page + older[0].replace("&amp;", "&") if older else ""
    assert [int(each) for each in dict.fromkeys(seen)] == list(range(100, 0, -1))
    for term, shown in {"ada": 100, "made.up": 100, "subject-7": 7}.items():
        assert f"subject-{shown}<" in staff.get(page, {"q": term}).content.decode(), term
