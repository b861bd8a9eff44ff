"""Prices of the operators: the one that is valid when a call is made, before all others."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from agentsite.engine.deltas import Usage
from agentsite.engine.ports import ModelRequest
from agentsite.host.agents import Agent
from agentsite.host.ledger import Ledger
from agentsite.host.meter import Meter
from agentsite.host.purse import Purse
from agentsite.manifest.loader import load
from agentsite.operations.budgets import Payer
from agentsite.operations.models import Alert, PriceOverride
from agentsite.operations.prices import price_at, read_prices
from agentsite.providers.ceiling import UNKNOWN, charge, cost_ceiling
from agentsite.rows.tenancy import acting_for, acting_for_all
from agentsite.rows.units import unit
from tests.manifest.agents import write_agent
from tests.requirements import requirement

pytestmark = pytest.mark.django_db(transaction=True)
NEW_YEAR = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
USAGE = Usage(input=1_000_000, cache_read=1_000_000, output=1_000_000)


class Named:
    """A model that is only asked for its name."""

    provider, name = "openai", "m"


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """Its manifest has a price of its own for the model."""
    root = write_agent(
        tmp_path,
        models={"main": {"provider": "openai", "model": "m", "baseUrl": "http://127.0.0.1:1/v1"}},
        prices={"openai/m": {"input": 1, "output": 2}},
        budgets={"agent": {"day": 5, "month": 20.5}, "key": {"day": 1, "soft": 0.5}},
        agent={"maxRunCost": 0.25},
    )
    return Agent("probe", load(root, {"OPENAI_API_KEY": "k"}))


@requirement("runs.price-overrides")
async def test_a_call_is_priced_by_what_holds_when_it_is_made(agent: Agent) -> None:
    with acting_for_all("prices are the operators'"):
        await unit(
            PriceOverride.objects.create,
            provider="openai", model="m", input=10, output=Decimal("20.5"), cache_read="0.5",
            valid_from=NEW_YEAR, valid_until=NEW_YEAR + 10 * SECOND,
        )  # fmt: skip
    ledger = Ledger()
    await ledger.read()
    for at, micros, source in (
        (NEW_YEAR - SECOND, 4_000_000, "override"),
        (NEW_YEAR, 31_000_000, "operators"),
        (NEW_YEAR + 9 * SECOND, 31_000_000, "operators"),
        (NEW_YEAR + 10 * SECOND, 4_000_000, "override"),
    ):
        priced = ledger.pricing(agent, Named(), at)(USAGE)  # type: ignore[arg-type]
        assert (priced.micros, priced.snapshot["source"]) == (micros, source)


@requirement("admin.alerts")
async def test_operators_are_told_once_of_each_model_without_a_known_price(agent: Agent) -> None:
    class Unknown(Named):
        name = "nobody-knows"

    for model, usage in ((Unknown, USAGE), (Unknown, USAGE), (Named, USAGE), (Unknown, Usage())):
        ledger = Ledger()
        purse = Purse(ledger, agent, Payer("probe", "acme", "run_1"))
        meter = Meter(purse, "main")
        request = ModelRequest(system="", messages=(), tools=(), max_tokens=1)
        with acting_for("acme"):
            await meter.admit(model(), request)  # type: ignore[arg-type]
            meter.asked(model())  # type: ignore[arg-type]
            meter.close(usage)
            await ledger.close()
        with acting_for_all("alerts are the operators'"):
            await unit(Alert.objects.update, closed_at=NEW_YEAR)
    with acting_for_all("alerts are the operators'"):
        told = await unit(list, Alert.objects.values_list("kind", "title"))
    assert [kind for kind, _ in told] == ["price"]
    assert "openai/nobody-knows" in told[0][1]


def test_of_two_the_one_that_began_later_holds() -> None:
    for start, price in ((0, 1), (5, 2)):
        PriceOverride.objects.create(
            provider="openai", model="m", input=price, output=price,
            valid_from=NEW_YEAR + start * SECOND,
        )  # fmt: skip
    prices = read_prices()
    found = [price_at(prices, "openai/m", NEW_YEAR + n * SECOND) for n in (-1, 0, 4, 5, 99)]
    assert [each and each["input"] for each in found] == [
        None, "1.000000", "1.000000", "2.000000", "2.000000",
    ]  # fmt: skip
    assert price_at(prices, "openai/other", NEW_YEAR) is None


def test_a_manifests_limits_are_micro_dollars(agent: Agent) -> None:
    limits = {(each.kind, each.period): each for each in Ledger().limits(agent)}
    assert {key: each.micros for key, each in limits.items()} == {
        ("agent", "day"): 5_000_000,
        ("agent", "month"): 20_500_000,
        ("key", "day"): 1_000_000,
        ("run", "run"): 250_000,
    }
    assert limits["key", "day"].soft == 0.5


def test_an_unknown_price_is_charged_as_a_dear_one(agent: Agent) -> None:
    class Unknown(Named):
        name = "nobody-knows"

    pricing = Ledger().pricing(agent, Unknown(), NEW_YEAR)  # type: ignore[arg-type]
    assert pricing(USAGE).micros is None
    dear = 2 * UNKNOWN["input"] + UNKNOWN["output"]
    assert charge(pricing, USAGE) == dear * 1_000_000
    assert cost_ceiling(pricing, 10, 10) == 10 * (UNKNOWN["input"] + UNKNOWN["output"])
