"""Due times that nobody has claimed when their schedule ends, or whose agent nobody serves."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import User

from agentsite.manifest.automations import AutomationFile, AutomationSpec
from automations_app import verbs
from automations_app.due import NOT_SERVED, UNSERVED, claim_due, find_due
from automations_app.models import Automation, AutomationRun, Occurrence
from automations_app.staff import editing
from automations_app.staff.forms import AutomationForm
from automations_app.sync import sync_agent
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
NOW = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
MINUTE = dt.timedelta(minutes=1)
HOURLY = f"{NOW.minute} * * * *"


def load(**keys: Any) -> None:
    spec = AutomationSpec(**{"title": "T", "prompt": "P", "schedule": HOURLY, **keys})
    sync_agent("desk", (AutomationFile("it", spec),))


@pytest.fixture
def automation() -> Automation:
    """Due each hour, three times by now: armed long enough ago."""
    load(timezone="UTC")
    since = NOW - dt.timedelta(hours=2, minutes=1)
    Automation.objects.update(armed_since=since)
    return Automation.objects.get()


def pause(automation: Automation) -> None:
    assert verbs.pause(automation.pk, "by a test")


def lose_file(automation: Automation) -> None:
    sync_agent("desk", ())


def change_file(automation: Automation) -> None:
    load(timezone="UTC", schedule=f"{(NOW.minute + 30) % 60} * * * *")


def edit(automation: Automation) -> None:
    shown = AutomationForm(row=automation)
    sent = {name: shown[name].value() for name in shown.fields}
    given = {name: value for name, value in sent.items() if value not in (None, False)}
    form = AutomationForm({**given, "trigger": "manual"}, row=automation)
    assert form.is_valid(), form.errors
    user = User.objects.create(username="editor")
    editing.change(automation, form.columns, automation.updated_at, user)


@requirement("automations.once")
@pytest.mark.parametrize(
    ("end", "word"),
    [(pause, "paused"), (lose_file, "paused"), (change_file, "rescheduled"), (edit, "rescheduled")],
)
def test_a_due_time_that_nobody_claimed_is_told_of_when_its_schedule_ends(
    automation: Automation, end: Any, word: str
) -> None:
    claim_due(automation.pk, NOW - dt.timedelta(hours=2), "a test")
    end(automation)
    rows = Occurrence.objects.order_by("due_at").exclude(status="run")
    assert [row.due_at for row in rows] == [NOW - dt.timedelta(hours=1), NOW]
    assert {(row.status, row.reason.partition(" before")[0]) for row in rows} == {
        ("missed", f"It was {word}")
    }
    assert AutomationRun.objects.count() == 1


@requirement("automations.once")
def test_what_changes_no_due_time_lets_none_go(automation: Automation) -> None:
    load(timezone="UTC", title="Another", retries=1)
    assert Automation.objects.get().title == "Another"
    assert not Occurrence.objects.exists()
    assert find_due(NOW) == [automation.pk]


@requirement("automations.once")
def test_due_times_of_an_agent_that_nobody_serves_are_missed_and_no_failed_runs(
    automation: Automation,
) -> None:
    others = {"another"}
    Automation.objects.update(armed_since=NOW - MINUTE)
    soon = NOW + UNSERVED - MINUTE
    assert find_due(soon, others) == [] and claim_due(automation.pk, soon, "other", others) == []
    assert not Occurrence.objects.exists()  # whoever serves it may yet come
    assert find_due(soon, {"desk"}) == [automation.pk]
    late = NOW + UNSERVED
    assert find_due(late, others) == [automation.pk]
    assert claim_due(automation.pk, late, "other", others) == []
    row = Occurrence.objects.get()
    assert (row.due_at, row.status, row.reason) == (NOW, "missed", NOT_SERVED)
    assert not AutomationRun.objects.exists()
    assert len(claim_due(automation.pk, late, "mine", {"desk"})) == 1  # the next one is its own
