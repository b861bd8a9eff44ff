"""Lists that operators and staff open are read by an index, however many rows there are.

Law: with sorting and whole tables out of the question, a plan names the index or none fits.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import Q

from automations_app.models import AutomationRun, Delivery, InboundDelivery, Occurrence
from automations_app.outcomes import find_last_success
from tests.requirements import requirement

pytestmark = pytest.mark.django_db
RUNS = AutomationRun.objects.order_by("-created_at", "-id")
SENT = Delivery.objects.order_by("-created_at", "-id")
DUE = Occurrence.objects.order_by("-due_at", "-id")
ANY = "x"
QUESTIONS: dict[str, tuple[Any, set[str]]] = {
    "a search for a run": (
        AutomationRun.objects.filter(Q(id=ANY) | Q(session_id=ANY) | Q(run_id=ANY)),
        {"arun_of_session", "automation_run_of_run"},
    ),
    "runs that failed": (RUNS.filter(status="failed"), {"arun_recent_of_status"}),
    "runs by hand": (RUNS.filter(cause="manual"), {"arun_recent_of_cause"}),
    "dead letters": (SENT.filter(status="dead"), {"delivery_open"}),
    "deliveries of one": (SENT.filter(automation=1), {"delivery_of_automation"}),
    "dead letters of one": (SENT.filter(automation=1, status="dead"), {"delivery_dead_of"}),
    "a sender's id": (InboundDelivery.objects.filter(sender_id=ANY), {"inbound_of_sender"}),
    "webhooks of one": (
        InboundDelivery.objects.filter(automation=1).order_by("-received_at", "-id"),
        {"inbound_of_automation"},
    ),
    "missed due times": (DUE.filter(status="missed"), {"occurrence_not_run"}),
    "missed ones of one": (
        Occurrence.objects.filter(automation=1).exclude(status="run").order_by("-due_at"),
        {"occurrence_not_run_of"},
    ),
}


@requirement("automations.admin")
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_list_is_found_by_its_index(name: str) -> None:
    rows, indexes = QUESTIONS[name]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    plan = rows[:20].explain()
    assert all(each in plan for each in indexes), plan
    assert "Seq Scan" not in plan and "Sort" not in plan, plan


@requirement("automations.continuity")
def test_the_last_success_is_found_by_its_index() -> None:
    row = AutomationRun(automation_id=1, scope_id="a")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plans: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.cursor.execute(f"EXPLAIN {sql}", params)
            plans.extend(str(line) for line in cursor.fetchall())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        assert find_last_success(row) == ("", None)
    assert "arun_success" in str(plans), plans
