"""Budgets: what is kept back, what is refused, what comes back, and who is told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError

from agentsite.bus.models import BusEvent
from agentsite.operations import budgets
from agentsite.operations.budgets import Limit, Payer, Standing, reserve
from agentsite.operations.models import Alert, Budget, Reservation
from agentsite.rows.tenancy import acting_for, tenant
from agentsite.rows.tenants import erase_partition
from sessions_app.models import ApiKey, Scope
from tests.operations.money import asked, cost, payer, run_of, set_budget, settle
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
DAY = (Limit("scope", "day", 100),)


def standing(who: Payer, limits: tuple[Limit, ...] = ()) -> dict[tuple[str, str], Standing]:
    return {(each.kind, each.period): each for each in budgets.read_standing(who, limits)}


@requirement("runs.budget-gate")
def test_what_a_call_may_cost_is_held_until_its_row_is_written() -> None:
    who, call = payer(), asked(60)
    assert reserve(who, DAY, call) == 60
    assert standing(who, DAY)["scope", "day"].held == 60
    refused = reserve(payer(), DAY, asked(50))
    assert isinstance(refused, Standing)
    assert (refused.kind, refused.period, refused.left) == ("scope", "day", 40)
    settle(run_of(), cost(25, hold=call.id))
    now = standing(who, DAY)["scope", "day"]
    assert (now.spent, now.held, now.left) == (25, 0, 75)
    assert not Reservation.objects.exists()


def test_an_answer_may_be_shorter_than_wanted() -> None:
    assert reserve(payer(), DAY, asked(10, 500)) == 100
    assert isinstance(reserve(payer(), DAY, asked(10, 500)), Standing)
    assert reserve(payer("other"), DAY, asked(10, 500)) == 100, "each scope has its own"


def test_without_a_budget_nothing_is_held() -> None:
    assert reserve(payer(), (), asked(10)) is None
    assert not Reservation.objects.exists()


@requirement("runs.closing-turn")
def test_the_closing_turn_is_kept_back_and_handed_over() -> None:
    who = payer()
    assert reserve(who, DAY, asked(30, 500, closing=20)) == 80
    assert standing(who, DAY)["scope", "day"].held == 100
    # The next turn of the same run takes the place of what was kept for this one.
    Reservation.objects.exclude(purpose="closing").delete()
    assert isinstance(reserve(who, DAY, asked(90, closing=20)), Standing)
    assert reserve(who, DAY, asked(15, 20, closing=0)) == 20
    assert [row.purpose for row in Reservation.objects.all()] == ["main"]
    # Others cannot have it: they find the budget without it.
    other = payer()
    assert reserve(other, DAY, asked(10, 500, closing=20)) == 60
    assert isinstance(reserve(payer(), DAY, asked(1)), Standing)
    budgets.release(other.run_id)
    assert standing(who, DAY)["scope", "day"].held == 20


KINDS: dict[str, tuple[dict[str, Any], Payer, Payer]] = {
    "agent": ({"subject": "desk"}, payer("a"), payer("a", agent="shop")),
    "scope": ({"agent": "desk", "scope_id": "a"}, payer("a"), payer("b")),
    "key": ({"subject": "7"}, payer("a", key=7), payer("a", key=8)),
}


@requirement("runs.budget-gate")
@pytest.mark.parametrize("period", ["day", "month"])
@pytest.mark.parametrize("kind", KINDS)
def test_operators_limit_agents_scopes_and_keys(kind: str, period: str) -> None:
    fields, limited, free = KINDS[kind]
    set_budget(kind, 0.0001, period, **fields)
    assert isinstance(reserve(limited, (), asked(101)), Standing)
    assert reserve(limited, (), asked(70, 90)) == 90
    assert reserve(free, (), asked(101)) is None
    assert isinstance(reserve(limited, (), asked(70)), Standing)


def test_what_was_spent_before_a_budget_was_set_counts() -> None:
    ref = run_of("a")
    settle(ref, cost(60, key=7))
    for kind, (fields, who, _) in KINDS.items():
        set_budget(kind, 1, **fields)
        assert standing(who)[kind, "day"].spent == 60, kind


def test_an_operators_budget_takes_the_place_of_the_manifests() -> None:
    who = payer()
    set_budget("scope", 0.0005, agent="desk", scope_id="acme")
    assert reserve(who, DAY, asked(300)) == 300
    assert standing(who, DAY)["scope", "day"].limit_micros == 500
    month = (*DAY, Limit("scope", "month", 310))
    assert isinstance(reserve(who, month, asked(20)), Standing), "other periods stay"


def test_each_run_may_have_a_limit() -> None:
    limits = (Limit("run", "run", 100),)
    ref = run_of()
    who = Payer("desk", "acme", ref.run_id)
    assert reserve(payer(), limits, asked(90)) == 90, "of another run"
    call = asked(60, 80)
    assert reserve(who, limits, call) == 80
    assert isinstance(reserve(who, limits, asked(21)), Standing)
    settle(ref, cost(70, hold=call.id))
    assert reserve(who, limits, asked(30)) == 30
    assert isinstance(reserve(who, limits, asked(1)), Standing)


@requirement("runs.lost-calls")
def test_what_a_lost_attempt_may_have_cost_counts_as_spent() -> None:
    ref = run_of()
    first = Payer("desk", "acme", ref.run_id, attempt=1)
    assert reserve(first, DAY, asked(40, closing=30)) == 40
    budgets.forfeit(ref.run_id, attempt=2)
    assert [(row.purpose, row.micros) for row in Reservation.objects.all()] == [("main", 40)]
    budgets.release(ref.run_id)
    assert standing(first, DAY)["scope", "day"].held == 40
    assert budgets.forget_lost() == 0
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=63)):
        assert budgets.forget_lost() == 1


def test_what_nobody_settled_or_gave_back_counts_in_its_own_period_only() -> None:
    who = payer()
    assert reserve(who, DAY, asked(40, seconds=-1)) == 40
    assert standing(who, DAY)["scope", "day"].held == 40
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=1, minutes=1)
    Reservation.objects.update(created_at=long_ago)
    assert standing(who, DAY)["scope", "day"].held == 0
    # One that is under way counts wherever it may end.
    Reservation.objects.update(expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    assert standing(who, DAY)["scope", "day"].held == 40


def test_tenants_reserve_and_settle_and_see_nobody_elses() -> None:
    with acting_for("acme"), tenant("acme"):
        assert reserve(payer(), DAY, asked(10)) == 10
        assert Reservation.objects.count() == 1
        assert not Budget.objects.exists()
    with acting_for("other"), tenant("other"):
        assert Reservation.objects.count() == 0
        budgets.settle(["hold_1"])
    assert Reservation.objects.count() == 1


@requirement("runs.budget-alert")
def test_operators_are_told_once_of_what_passed_its_soft_limit_and_of_the_stop() -> None:
    who = payer()
    set_budget("scope", 0.0001, agent="desk", scope_id="acme", soft="0.5")
    settle(run_of(), cost(49))
    assert budgets.raise_alerts(who, ()) == 0
    settle(run_of(), cost(1))
    assert budgets.raise_alerts(who, ()) == 1
    assert budgets.raise_alerts(who, ()) == 0
    refused = reserve(who, (), asked(10**9))
    assert isinstance(refused, Standing)
    assert budgets.raise_alerts(who, (), refused) == 1
    assert budgets.raise_alerts(who, (), refused) == 0
    soft, hard = Alert.objects.order_by("pk")
    assert (soft.level, hard.level) == ("warning", "critical")
    assert (soft.agent, soft.scope_id) == ("desk", "acme")
    assert "has passed 50 %" in soft.title
    assert "is used up" in hard.title
    assert BusEvent.objects.filter(type="alert_raised", audience="staff").count() == 2


@requirement("runs.budget-alert")
def test_operators_are_told_once_of_each_run_that_passed_its_soft_limit() -> None:
    set_budget("run", 0.0001, "run", subject="desk", soft="0.5")
    told = []
    for micros in (49, 50, 60):
        ref = run_of()
        settle(ref, cost(micros))
        told += [budgets.raise_alerts(Payer("desk", "acme", ref.run_id), ()) for _ in range(2)]
    assert told == [0, 0, 1, 0, 1, 0]
    other = Payer("shop", "acme", run_of(agent="shop").run_id)
    assert budgets.raise_alerts(other, (Limit("run", "run", 0, soft=1),)) == 0
    first, second = Alert.objects.order_by("pk")
    assert first.title == "The budget of a run of desk, this run, has passed 50 %"
    assert first.details["run"] != second.details["run"]


@requirement("runs.budget-alert")
def test_nothing_is_told_of_a_soft_limit_before_anything_was_spent() -> None:
    set_budget("run", 0, "run", subject="desk")
    set_budget("scope", 0, agent="desk", scope_id="acme")
    who = payer()
    assert budgets.raise_alerts(who, ()) == 0
    refused = standing(who)["run", "run"]
    assert [budgets.raise_alerts(each, (), refused) for each in (who, payer())] == [1, 0]
    assert "is used up" in Alert.objects.get().title


@requirement("runs.budget-alert")
def test_a_call_that_belongs_to_no_run_tells_of_no_run() -> None:
    set_budget("run", 0.0001, "run", subject="desk")
    set_budget("scope", 0.0001, agent="desk", scope_id="acme")
    ref = run_of()
    settle(ref, cost(100))
    beside = Payer("desk", "acme", ref.run_id, in_run=False)
    refused = standing(beside)["run", "run"]
    assert budgets.raise_alerts(beside, (), refused) == 1
    assert "scope desk / acme" in Alert.objects.get().title
    assert budgets.raise_alerts(Payer("desk", "acme", ref.run_id), (), refused) == 2


def test_more_budgets_than_are_worth_knowing_are_asked_for_at_each_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        for period in ("day", "month"):
            set_budget("scope", 1, period, agent="desk", scope_id=f"scope-{number}")
    monkeypatch.setattr(budgets, "MOST_KNOWN", 3)
    assert len(budgets.read_set().subjects) == 3
    monkeypatch.setattr(budgets, "MOST_KNOWN", 2)
    assert budgets.read_set() == budgets.Set(too_many=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "scope", "agent": "", "period": "day"},
        {"kind": "scope", "agent": "desk", "subject": "x", "period": "day"},
        {"kind": "agent", "subject": "", "period": "day"},
        {"kind": "agent", "subject": "desk", "scope_id": "a", "period": "day"},
        {"kind": "run", "subject": "desk", "period": "day"},
        {"kind": "agent", "subject": "desk", "period": "run"},
        {"kind": "key", "subject": "4711", "period": "day"},
        {"kind": "key", "subject": "a name", "period": "day"},
        {"kind": "key", "subject": "9" * 40, "period": "day"},
    ],
)
def test_a_budget_that_fits_nothing_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Budget(limit=1, **fields).full_clean()


def test_a_budget_of_a_key_names_an_existing_key_as_it_is_looked_up() -> None:
    key = ApiKey.objects.create(name="Shop", prefix="ak_x", key_hash="x")
    Budget(limit=1, kind="key", subject=str(key.pk), period="day").full_clean()
    for wrong in (f"0{key.pk}", f" {key.pk}", f"+{key.pk}", "Shop"):
        with pytest.raises(ValidationError, match="no key of this number"):
            Budget(limit=1, kind="key", subject=wrong, period="day").full_clean()


def test_erasing_a_scope_takes_its_money_and_no_other_budget() -> None:
    Scope.objects.create(agent="desk", scope_id="")
    for kind, fields in (
        ("agent", {"subject": "desk"}),
        ("scope", {"agent": "desk", "scope_id": ""}),
        ("scope", {"agent": "desk", "scope_id": "acme"}),
    ):
        set_budget(kind, 1, **fields)
    erase_partition("desk", "")
    left = Budget.objects.order_by("kind").values_list("kind", "scope_id")
    assert list(left) == [("agent", ""), ("scope", "acme")]
