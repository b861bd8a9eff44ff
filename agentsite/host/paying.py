"""Calls of models that are no turn of a run: embeddings, searches. Held for, metered, written.

Law: whoever makes such a call makes it through here, so that budgets hold for it and its row is
written however it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from agentsite.connections.errors import OutboundError
from agentsite.engine.deltas import Usage
from agentsite.engine.messages import user_message
from agentsite.engine.ports import ModelName, ModelRequest, Purpose
from agentsite.host.agents import Agent
from agentsite.host.clock import new_id
from agentsite.host.ledger import Ledger
from agentsite.host.meter import Meter
from agentsite.host.purse import BudgetSpent, Purse, record_calls
from agentsite.operations.budgets import Payer
from agentsite.providers.base import ProviderError
from agentsite.rows.tenancy import tenant
from agentsite.rows.units import unit
from agentsite.tools.base import Make, ToolError
from sessions_app.actions import RunRef
from sessions_app.metering import FinishedCall

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

Value = TypeVar("Value")


async def meter_call(meter: Meter, model: ModelName, text: str, make: Make[Value]) -> Value:
    """Make a call that sends this text. Raises `BudgetSpent` before it, else as `make` does."""
    asked = ModelRequest(system="", messages=(user_message(text),))
    admitted = await meter.admit(model, asked)
    meter.asked(model)
    ended = "cancelled"
    try:
        value, usage = await make(admitted.max_tokens)
    except ProviderError as error:
        meter.failed(model, error)
        raise
    except OutboundError:
        ended = "server"
        raise
    else:
        meter.close(usage)
        return value
    finally:
        meter.close(Usage(), ended)  # where nobody has closed it


class RunPays:
    """The calls of one run's tools: they count into its tokens and its cost."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def __call__(
        self, purpose: Purpose, model: ModelName, text: str, make: Make[Value]
    ) -> Value:
        """Raises `ToolError` where a budget is used up."""
        meter = Meter(self._driver.purse, purpose)
        try:
            return await meter_call(meter, model, text, make)
        except BudgetSpent as spent:
            raise ToolError(str(spent)) from spent
        finally:
            self._driver.spend(meter.rows)


class ScopePays:
    """Calls on behalf of a scope that belong to no run."""

    def __init__(
        self, ledger: Ledger, agent: Agent, scope_id: str, key_id: int | None = None
    ) -> None:
        # The name of a run that is none: no sum over runs has it.
        payer = Payer(agent.id, scope_id, new_id("run"), key_id=key_id, in_run=False)
        self._purse = Purse(ledger, agent, payer)
        self._scope_id = scope_id

    async def __call__(
        self, purpose: Purpose, model: ModelName, text: str, make: Make[Value]
    ) -> Value:
        """Raises `BudgetSpent`."""
        meter = Meter(self._purse, purpose)
        try:
            return await meter_call(meter, model, text, make)
        finally:
            await unit(_write, self._scope_id, tuple(meter.rows))
            self._purse.note()
            self._purse.look()


def _write(scope_id: str, rows: Sequence[FinishedCall]) -> None:
    with tenant(scope_id):
        record_calls(RunRef("", 1, "", scope_id), rows)
