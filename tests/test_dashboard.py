"""The admin's first page: figures that hold, each a link to its list, for whoever may look."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from agentsite.dashboard import page
from agentsite.dashboard.costs import DAYS, OTHERS, add_lines, read_costs
from agentsite.jobs import absence
from agentsite.jobs.absence import Absence
from agentsite.operations.models import McpServer, PinnedTool
from automations_app.models import Automation, AutomationRun, Delivery, Occurrence
from sessions_app.models import ModelCall, Run
from sessions_app.usage import rebuild
from tests.requirements import requirement
from tests.sessions_app.rows import make_run, make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def tiles(client: Client) -> dict[str, tuple[str, str, str]]:
    """Title → value, note, address."""
    text = client.get("/admin/").content.decode()
    found = re.findall(
        r'<li class="ag-tile[^>]*>\s*<a href="([^"]*)">\s*<span class="ag-tile-title">(.*?)</span>'
        r'<span class="ag-tile-value">(.*?)</span><span class="ag-dim">(.*?)</span>',
        text,
        re.DOTALL,
    )
    return {title: (value, note, url) for url, title, value, note in found}


@requirement("admin.dashboard")
def test_figures_hold_and_lead_to_their_lists(staff: Client) -> None:
    for seconds, reason in ((1, "model_stop"), (2, "model_stop"), (9, "error"), (3, "max_turns")):
        run = make_run(make_session(), reason=reason)
        ended = run.created_at + dt.timedelta(seconds=seconds)
        Run.objects.filter(pk=run.pk).update(ended_at=ended)
    for session_type, copied in (("chat", "run_of_then"), ("replay", ""), ("eval", "")):
        make_run(make_session(session_type=session_type), reason="error", copy_of=copied)
    old = make_run(make_session(), reason="error")
    Run.objects.filter(pk=old.pk).update(created_at=timezone.now() - dt.timedelta(days=2))
    for status in ("running", "waiting", "waiting", "queued"):
        run = make_run(make_session())
        Run.objects.filter(pk=run.pk).update(status=status)
    nightly = Automation.objects.create(agent="desk", name="nightly", title="Nightly", prompt="x")
    due = timezone.now() - dt.timedelta(hours=1)
    Occurrence.objects.create(automation=nightly, due_at=due, claimed_at=due)
    AutomationRun.objects.create(id="arun_1", automation=nightly, cause="cron", status="failed")
    for number, (scope, status) in enumerate(
        (("", "queued"), ("at-work", "running"), ("at-work", "queued"))
    ):
        AutomationRun.objects.create(
            id=f"arun_of_{number}", automation=nightly, cause="cron", scope_id=scope,
            status=status, run_id=status if status == "running" else "",
        )  # fmt: skip
    AutomationRun.objects.filter(id__startswith="arun_of_").update(created_at=due)
    shown = tiles(staff)
    assert shown["Live runs"][0] == "1"
    assert shown["Waiting for a person"][0] == "2"
    assert shown["Queue"][0] == "1"
    assert shown["Failed"][0] == "25.0 %"
    assert shown["Failed"][1].startswith("4 newest runs")
    assert shown["Not a good end"][0] == "2"
    assert (shown["Duration"][0], shown["Duration"][1]) == ("3,000 ms", "p95 9,000 ms")
    assert shown["Scheduler"][0] == "1 stuck"
    assert shown["Automations failed"][0] == "1"
    for title, (_, _, url) in shown.items():
        assert staff.get(url.replace("&amp;", "&")).status_code == 200, title
    for title, count in (("Failed", 1), ("Not a good end", 2), ("Duration", 4)):
        listed = staff.get(shown[title][2].replace("&amp;", "&")).content.decode()
        assert len(set(re.findall(r"/run/run_5F(\w+)/change/", listed))) == count, title
    for title, count in (("Automations at work", 3), ("Automations failed", 1), ("Scheduler", 1)):
        listed = staff.get(shown[title][2].replace("&amp;", "&")).content.decode()
        found = set(re.findall(r"/automationrun/arun_5F(\w+)/change/", listed))
        assert len(found) == count, title


@requirement("admin.dashboard")
def test_what_waits_for_later_or_for_nobody_is_in_no_list(staff: Client) -> None:
    nightly = Automation.objects.create(agent="desk", name="nightly", title="Nightly", prompt="x")
    run = AutomationRun.objects.create(
        id="arun_1", automation=nightly, cause="cron", status="failed"
    )
    now, later = timezone.now(), timezone.now() + dt.timedelta(hours=1)
    for number, (status, at) in enumerate((("pending", now), ("pending", later), ("dead", now))):
        Delivery.objects.create(
            id=f"msg_{number}", automation_run=run, automation=nightly, target_index=number,
            target_type="callback", payload={}, status=status, next_try_at=at,
        )  # fmt: skip
    server = McpServer.objects.create(agent="desk", name="crm")
    for tool, status, listed in (
        ("changed", "waiting", True), ("gone", "waiting", False), ("good", "accepted", True),
    ):  # fmt: skip
        PinnedTool.objects.create(
            server=server, tool=tool, digest=tool, description=tool, status=status, listed=listed
        )
    shown = tiles(staff)
    for title, link in (
        ("Deliveries due", r"/delivery/(\w+)/change/"),
        ("Changed tools of MCP servers", r"/pinnedtool/(\w+)/change/"),
    ):
        value, _, url = shown[title]
        listed = staff.get(url.replace("&amp;", "&")).content.decode()
        assert (value, len(set(re.findall(link, listed)))) == ("1", 1), title


@requirement("admin.dashboard", "automations.scheduler-told", "automations.broker-told")
def test_a_scheduler_that_is_down_is_told_of(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_LEADER", "NO_WORKER"):
        monkeypatch.setattr(page, name, Absence())
    assert tiles(staff)["Scheduler"][0] == "0 stuck"
    every = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.create(name="something", task="celery.ping", interval=every)
    value, note, _ = tiles(staff)["Scheduler"]
    assert (value, "no beat process fires what is due" in note) == ("0 stuck", True)
    assert 'class="ag-tile ag-bad' not in staff.get("/admin/").content.decode()
    monkeypatch.setattr(absence, "PATIENCE_SECONDS", -1.0)
    assert tiles(staff)["Scheduler"][0] == "down"
    assert 'class="ag-tile ag-bad' in staff.get("/admin/").content.decode()
    PeriodicTask.objects.all().delete()
    monkeypatch.setattr(page, "are_tasks_left", lambda: True)
    value, note, _ = tiles(staff)["Scheduler"]
    assert (value, "no worker takes them" in note) == ("down", True)


@requirement("admin.dashboard")
def test_costs_are_the_sums_of_the_calls(staff: Client) -> None:
    scopes = ("acme", "other")
    for scope in (*scopes, "acme"):
        make_run(make_session(scope_id=scope))
    for days, scope, cost in ((0, "acme", None), (3, "other", 1_000), (20, "acme", 5_000)):
        moment = timezone.now() - dt.timedelta(days=days)
        ModelCall.objects.create(
            session_id="s", run_id="r", agent="desk", scope_id=scope, purpose="main",
            provider="openai", model="gpt", cost_micros=cost, created_at=moment,
        )  # fmt: skip
    rebuild()
    spent = read_costs()
    calls = ModelCall.objects.filter(created_at__gte=timezone.now() - dt.timedelta(days=13))
    assert spent.total == sum(call.cost_micros or 0 for call in calls)
    assert sum(sum(line) for line in spent.by_model.values()) == spent.total
    assert sum(sum(line) for line in spent.by_scope.values()) == spent.total
    assert spent.unpriced_today == 1
    shown = tiles(staff)
    assert spent.today == 3 * 38_795
    assert shown["Cost today"][0] == "$0.116385"
    assert "1 calls without a known price" in shown["Cost today"][1]
    text = staff.get("/admin/").content.decode()
    assert text.count('<canvas class="chart"') == 3
    for by, name in (("agent", "desk"), ("model", "openai/gpt"), ("scope", "other")):
        link = re.search(rf'href="(/admin/[^"]*by={by}&amp;[^"]*)"', text)
        assert link, by
        cost = staff.get(link[1].replace("&amp;", "&"))
        assert cost.context["total"]["cost"] == "$0.117385", by
        assert name in cost.content.decode(), by
    assert "$0.117385" in text
    many = {f"agent {n}": [n] * DAYS for n in range(1, 9)}
    rows = [(day, name, line[0]) for name, line in many.items() for day in spent.days]
    lines = add_lines(rows, spent.days)
    assert next(iter(lines)) == "agent 8"
    assert lines[OTHERS] == [1 + 2 + 3] * DAYS


@requirement("admin.dashboard")
def test_nothing_is_counted_without_a_bound(staff: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        staff.get("/admin/")
    big = ("sessions_app_run", "sessions_app_modelcall", "sessions_app_interaction")
    over = [query["sql"] for query in asked if any(f"FROM {name}" in query["sql"] for name in big)]
    assert len(over) >= 4
    assert not [sql for sql in over if "LIMIT" not in sql]


@requirement("admin.dashboard")
def test_who_may_not_look_at_runs_sees_no_figure() -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    client = Client()
    client.force_login(clerk)
    assert tiles(client) == {}
    clerk.user_permissions.add(Permission.objects.get(codename="view_run"))
    assert "Live runs" in tiles(client)
