"""Sums by day equal the rows they were made of, whatever is written, by whom, at once."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections

from agentsite.engine.deltas import Usage
from agentsite.rows.tenancy import acting_for, tenant
from agentsite.rows.tenants import erase_partition
from sessions_app.models import AgentDay, KeyDay, ModelCall, UsageDay
from sessions_app.usage import rebuild
from tests.operations.money import cost, run_of, settle
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
SUMS = (*TOKENS, "calls", "failed", "unpriced", "cost_micros", "charge_micros")
FROM_ROWS = f"""
    SELECT (created_at AT TIME ZONE 'UTC')::date, agent, {{scope}} provider, model, purpose,
        {", ".join(f"sum({name})::bigint" for name in TOKENS)},
        count(*), count(*) FILTER (WHERE error <> ''), count(*) FILTER (WHERE cost_micros IS NULL),
        coalesce(sum(cost_micros), 0)::bigint, sum(charge_micros)::bigint
    FROM sessions_app_modelcall GROUP BY 1, agent, {{scope}} provider, model, purpose
"""  # noqa: S608 - our own names


def assert_equal() -> None:
    """Both tables of sums against sums over all rows, made by another statement."""
    for model, scope in ((UsageDay, ("scope_id",)), (AgentDay, ())):
        with connection.cursor() as cursor:
            cursor.execute(FROM_ROWS.format(scope="".join(f"{name}, " for name in scope)))
            rows = {tuple(row) for row in cursor.fetchall()}
        fields = ("day", "agent", *scope, "provider", "model", "purpose", *SUMS)
        kept = set(model.objects.exclude(calls=0).values_list(*fields))
        assert kept == rows


def write_some(rng: random.Random, refs: list[Any]) -> None:
    """A transaction with a few calls of several scopes."""
    for _ in range(rng.randrange(1, 5)):
        tokens = Usage(*(rng.randrange(0, 10**9) for _ in TOKENS))
        micros = rng.choice((None, rng.randrange(10**7)))
        row = cost(
            micros,
            key=rng.choice((None, 1, 2)),
            usage=tokens,
            model=rng.choice(("a", "b")),
            purpose=rng.choice(("main", "title")),
            error=rng.choice(("", "", "server")),
        )
        settle(rng.choice(refs), row)


@requirement("runs.usage-sums")
def test_sums_equal_the_rows_after_writers_at_once() -> None:
    refs = [run_of(scope) for scope in ("", "a", "b")]
    problems: list[BaseException] = []

    def write(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(15):
                with tenant_or_all(rng, refs) as mine:
                    write_some(rng, mine)
        except BaseException as error:  # noqa: BLE001 - told to the test
            problems.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert ModelCall.objects.count() > 100
    assert_equal()


class tenant_or_all:
    """One transaction, of a scope or of the owner."""

    def __init__(self, rng: random.Random, refs: list[Any]) -> None:
        self._ref, self._refs = rng.choice(refs), refs
        self._acting = acting_for(self._ref.scope_id)
        self._tenant = tenant(self._ref.scope_id)

    def __enter__(self) -> list[Any]:
        self._acting.__enter__()
        self._tenant.__enter__()
        return [self._ref]

    def __exit__(self, *problem: Any) -> None:
        self._tenant.__exit__(*problem)
        self._acting.__exit__(*problem)


def test_what_is_rolled_back_is_not_in_the_sums() -> None:
    ref = run_of("a")
    before = list(AgentDay.objects.values_list("calls", flat=True))
    with pytest.raises(RuntimeError), acting_for("a"), tenant("a"):
        settle(ref, cost(5))
        raise RuntimeError("no")
    assert list(AgentDay.objects.values_list("calls", flat=True)) == before
    assert_equal()


@requirement("runs.usage-sums")
def test_erasing_a_scope_takes_it_out_of_all_sums_but_gives_no_budget_back() -> None:
    for scope in ("a", "b"):
        settle(run_of(scope), cost(5, key=3), cost(None, key=3))
    charged = sum(AgentDay.objects.values_list("charge_micros", flat=True))
    erase_partition("desk", "a")
    assert not UsageDay.objects.filter(scope_id="a").exists()
    assert sum(AgentDay.objects.values_list("charge_micros", flat=True)) == charged
    assert KeyDay.objects.get().charge_micros == 10
    AgentDay.objects.update(charge_micros=0)
    rows = {day.pk: day for day in AgentDay.objects.all()}
    rebuild()
    again = AgentDay.objects.exclude(calls=0)
    assert len(again) == len([day for day in rows.values() if day.calls])
    assert sum(day.cost_micros for day in again) == sum(day.cost_micros for day in rows.values())
    assert_equal()


def test_a_row_that_was_counted_is_never_changed() -> None:
    settle(run_of("a"), cost(5))
    with pytest.raises(DatabaseError, match="written once"):
        ModelCall.objects.update(cost_micros=1)
    assert_equal()
