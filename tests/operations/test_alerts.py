"""Alerts: told once, told again when it comes back, each with the way to what it is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agentsite.bus.models import BusEvent
from agentsite.operations import budgets
from agentsite.operations.alerts import (
    failing_automation,
    poisoned_run,
    raise_again,
    raise_once,
    refused_credentials,
    repeating_run,
    unknown_price,
)
from agentsite.operations.budgets import Payer
from agentsite.operations.models import Alert
from agentsite.rows.tenancy import acting_for_all
from automations_app.models import AutomationRun
from automations_app.outcomes import Ended, settle
from sessions_app.models import Run
from tests.operations.money import cost, run_of, set_budget, settle as settle_calls
from tests.operations.staff_rows import ROWS
from tests.requirements import requirement

pytestmark = pytest.mark.django_db


def refused() -> Alert:
    return refused_credentials("desk", "openai/gpt", "That key opens nothing.")


@requirement("admin.alerts")
def test_what_lasts_is_told_once_and_again_when_it_comes_back() -> None:
    assert raise_again(refused()) == 1
    assert raise_again(refused()) == 0
    assert BusEvent.objects.filter(type="alert_raised", audience="staff").count() == 1
    Alert.objects.update(closed_at=timezone.now(), once="openai, an hour ago")
    assert raise_again(refused()) == 1
    assert raise_once(poisoned_run("run_1", "desk", "acme")) == 1
    assert raise_once(poisoned_run("run_1", "desk", "acme")) == 0


def of_run() -> Alert:
    run = ROWS[Run]()
    assert isinstance(run, Run)
    return poisoned_run(run.pk, run.agent, run.scope_id)


def of_price() -> Alert:
    return unknown_price("openai/nobody-knows", "desk")


def of_repeats() -> Alert:
    run = ROWS[Run]()
    assert isinstance(run, Run)
    return repeating_run(run.pk, run.agent, run.scope_id)


def of_automation() -> Alert:
    run = ROWS[AutomationRun]()
    assert isinstance(run, AutomationRun)
    return failing_automation(run.automation_id, "desk", "nightly", run.pk, 3)


@requirement("admin.alerts")
@pytest.mark.parametrize("make", [refused, of_run, of_repeats, of_automation, of_price])
def test_each_leads_to_what_it_is_about(make: Callable[[], Alert]) -> None:
    raise_once(make())
    alert = Alert.objects.get()
    staff = login()
    text, link = look_at(staff, alert)
    assert alert.title in text
    assert staff.get(link).status_code == 200
    first = staff.get("/admin/").content.decode()
    assert "Open alerts" in first and alert.title[:60] in first


@requirement("admin.alerts", "runs.budget-alert")
def test_a_run_that_passed_its_soft_limit_leads_to_itself_and_the_stop_to_all_budgets() -> None:
    set_budget("run", 0.0001, "run", subject="desk", soft="0.5")
    ref = run_of()
    settle_calls(ref, cost(60))
    who = Payer("desk", "acme", ref.run_id)
    (standing,) = budgets.read_standing(who, ())
    assert budgets.raise_alerts(who, (), standing) == 2
    soft, stop = Alert.objects.order_by("pk")
    staff = login()
    of_run = reverse("admin:sessions_app_run_change", args=[quote(ref.run_id)])
    assert look_at(staff, soft)[1] == of_run
    assert staff.get(of_run).status_code == 200
    assert look_at(staff, stop)[1] == reverse("admin:operations_budget_changelist")


def login() -> Client:
    staff = Client()
    staff.force_login(User.objects.create_superuser("ada"))
    return staff


def look_at(staff: Client, alert: Alert) -> tuple[str, str]:
    """An alert's page, and the way from there to what it is about."""
    page = staff.get(reverse("admin:operations_alert_change", args=[alert.pk]))
    text = page.content.decode()
    (link,) = [part.split('"')[0] for part in text.split('<a class="ag-link" href="')[1:]]
    return text, link.replace("&amp;", "&")


@requirement("admin.alerts")
def test_an_automation_that_fails_three_times_in_a_row_is_told_of_once() -> None:
    run = ROWS[AutomationRun]()
    assert isinstance(run, AutomationRun)
    automation = run.automation
    for number in range(5):
        failed = AutomationRun.objects.create(
            id=f"arun_f{number}", automation=automation, cause="cron", status="running"
        )
        told = Ended(failed.pk, automation.agent, automation.name, "", success=False, error="No.")
        with acting_for_all("a run has ended"):
            settle(told)
    alert = Alert.objects.get()
    assert (alert.kind, alert.details["failures"]) == ("automation", 3)
    assert alert.details["automationRun"] == "arun_f2"
