"""Failures are counted where they happen: alerts in time for each partition, none for another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from agentsite.operations.models import Alert
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.tenants import erase_partition
from automations_app.models import Automation, AutomationRun, Delivery, FailureStreak
from automations_app.outcomes import Ended, settle
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
NUMBERS = count(1)
ALERT: dict[str, Any] = {
    "after": 2, "cooldownMinutes": 60, "targets": [{"type": "callback", "name": "a.b"}],
}  # fmt: skip


@pytest.fixture(autouse=True)
def everybody() -> Iterator[None]:
    with acting_for_all("runs have ended"):
        yield


def make(**columns: Any) -> Automation:
    given = {"name": f"n{next(NUMBERS)}", "partition": "each", "failure_alert": ALERT, **columns}
    return Automation.objects.create(agent="desk", title="N", prompt="P", **given)


def end(automation: Automation, scope_id: str, *, success: bool = False) -> int:
    """Let a run end as runs do; how many alerts have gone out from this partition."""
    key = f"arun_{next(NUMBERS)}"
    row = AutomationRun.objects.create(
        id=key, automation=automation, scope_id=scope_id, cause="cron", status="running",
        run_id=f"run_{key}",
    )  # fmt: skip
    told = Ended(
        row.pk, "desk", automation.name, scope_id, success=success, error="" if success else "No."
    )
    assert settle(told) is not None
    assert settle(told) is None
    return Delivery.objects.filter(kind="alert", automation=automation, scope_id=scope_id).count()


@requirement("automations.failure-alerts")
def test_an_alert_goes_out_at_the_nth_failure_in_a_row_of_one_partition() -> None:
    automation = make()
    assert [end(automation, "a"), end(automation, "b")] == [0, 0]
    assert end(automation, "a", success=True) == 0  # it does not count for the other one
    assert end(automation, "b") == 1
    assert end(automation, "a") == 0  # it begins anew
    assert end(automation, "a") == 1  # b's alert of this hour does not keep it back
    assert end(automation, "a") == 1  # its own does
    assert dict(FailureStreak.objects.values_list("scope_id", "failures")) == {"a": 3, "b": 2}


@requirement("automations.failure-alerts")
def test_a_try_that_is_followed_by_another_is_no_failure() -> None:
    automation = make(retries=1)
    assert end(automation, "a") == 0
    assert not FailureStreak.objects.exists()


@requirement("admin.alerts")
def test_what_fails_in_every_partition_is_one_alert_of_the_operators() -> None:
    automation, single = make(failure_alert=None), make(failure_alert=None, partition="a")
    for _ in range(3):
        for scope in ("a", "b", "c"):
            end(automation, scope)
    assert Alert.objects.count() == 1
    for success in (False, False, False, True, False, False, False):
        end(single, "a", success=success)
    assert Alert.objects.filter(title__contains=single.name).count() == 2


@requirement("scope.erase")
def test_a_partitions_count_goes_with_it() -> None:
    automation = make()
    for scope in ("a", "b"):
        end(automation, scope)
    assert erase_partition("desk", "a")["automations_app.failurestreak"] == 1
    assert [row.scope_id for row in FailureStreak.objects.all()] == ["b"]
