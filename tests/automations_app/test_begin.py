"""Beginning runs: in which partitions, and never twice for the same cause."""

from __future__ import annotations

import datetime as dt
from functools import partial

import pytest

from automations_app.models import Automation, AutomationRun, Occurrence
from automations_app.starting import begin, partitions_of
from sessions_app.models import Scope
from tests.requirements import requirement

pytestmark = pytest.mark.django_db


@pytest.fixture
def automation() -> Automation:
    return Automation.objects.create(agent="each-agent", name="n", title="T", prompt="P")


@requirement("automations.partitions")
def test_each_is_every_known_scope_of_the_agent_that_is_not_blocked(automation: Automation) -> None:
    now = dt.datetime.now(dt.UTC)
    for scope_id, agent, blocked in (
        ("b", "each-agent", None),
        ("a", "each-agent", None),
        ("shut", "each-agent", now),
        ("c", "another", None),
    ):
        Scope.objects.create(agent=agent, scope_id=scope_id, blocked_at=blocked)
    assert partitions_of(automation) == [""]
    automation.partition = "acme"
    assert partitions_of(automation) == ["acme"]
    automation.partition = "each"
    assert partitions_of(automation) == ["a", "b"]


@requirement("automations.sweep")
def test_a_due_time_begins_one_run_in_each_partition(automation: Automation) -> None:
    due = Occurrence.objects.create(automation=automation, due_at=dt.datetime.now(dt.UTC))
    cron = partial(begin, automation.pk, cause="cron", occurrence_id=due.pk)
    first = cron(scope_id="a")
    assert cron(scope_id="a") == first
    assert cron(scope_id="b") != first
    manual = [begin(automation.pk, cause="manual", scope_id="a") for _ in range(2)]
    assert manual[0] != manual[1]
    rows = AutomationRun.objects.filter(automation=automation)
    assert rows.count() == 4 and set(rows.values_list("status", flat=True)) == {"queued"}
