"""What this process knows of money: prices of the operators, and whose budgets are limited.

Law: both are read anew every few seconds, so a run without a budget asks the database nothing.
What a limit is and how it stands the database decides for each call (`operations.budgets`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from agentsite.engine.ports import Named
from agentsite.host.agents import Agent
from agentsite.manifest.blocks import BudgetWindow
from agentsite.operations import alerts, budgets
from agentsite.operations.budgets import Limit, Payer, Standing
from agentsite.operations.models import Alert
from agentsite.operations.prices import OwnPrice, price_at, read_prices
from agentsite.providers.ceiling import Pricing
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit

logger = logging.getLogger(__name__)

MILLION = 1_000_000
ALARM_SECONDS = 60.0
"""Within which this process tells of the same thing once: a broken key fails every call."""


class Ledger:
    """Of one process."""

    def __init__(self) -> None:
        self._prices: tuple[OwnPrice, ...] = ()
        self._set = budgets.Set()
        self._beside: set[asyncio.Task[None]] = set()
        self._alarmed: dict[str, float] = {}

    async def follow(self) -> None:
        """Keep what is known fresh, for ever."""
        while True:
            await asyncio.sleep(max(1, settings.AUTH_CACHE_SECONDS))
            try:
                await self.read()
            except DatabaseError as error:
                logger.warning("budgets and prices could not be read: %s", error)
            except Exception:
                # Whatever it is: without the next reading no new budget would count here.
                logger.exception("budgets and prices could not be read")

    async def read(self) -> None:
        """Read both now."""
        with acting_for_all("budgets and prices of the operators"):
            self._prices, self._set = await unit(_read)

    def limits(self, agent: Agent) -> tuple[Limit, ...]:
        """What the agent's manifest limits."""
        given, found = agent.bundle.config.budgets, []
        for kind in ("agent", "scope", "key"):
            window: BudgetWindow | None = getattr(given, kind, None)
            if window is None:
                continue
            for period, amount in (("day", window.day), ("month", window.month)):
                if amount is not None:
                    found.append(Limit(kind, period, round(amount * MILLION), window.soft))
        if agent.block.max_run_cost is not None:
            # No share of it is worth an alert: nobody has named one.
            found.append(Limit("run", "run", round(agent.block.max_run_cost * MILLION), soft=1))
        return tuple(found)

    def is_limited(self, payer: Payer) -> bool:
        """Whether operators have set a budget that this payer counts against."""
        known = self._set
        if known.too_many or not known.subjects:
            return known.too_many
        subjects = {("scope", payer.agent, payer.scope_id, "")}
        subjects |= {(kind, "", "", payer.agent) for kind in ("agent", "run")}
        if payer.key_id is not None:
            subjects.add(("key", "", "", str(payer.key_id)))
        return not known.subjects.isdisjoint(subjects)

    def pricing(self, agent: Agent, model: Named, at: dt.datetime) -> Pricing:
        """How calls of a model are priced that are made at this moment."""
        label = f"{model.provider}/{model.name}"
        own: Mapping[str, Any] | None = price_at(self._prices, label, at)
        return lambda usage: agent.price(model.provider, model.name, usage, at, own)

    def watch(
        self, payer: Payer, limits: tuple[Limit, ...], refused: Standing | None = None
    ) -> None:
        """Tell operators of soft limits that were passed; beside everything else."""
        self._spawn(self._watch(payer, limits, refused))

    async def _watch(
        self, payer: Payer, limits: tuple[Limit, ...], refused: Standing | None
    ) -> None:
        try:
            with acting_for_all("alerts are the operators'"):
                await unit(budgets.raise_alerts, payer, limits, refused)
        except DatabaseError as error:  # the next call of the same budget tells of it
            logger.warning("budgets could not be looked at: %s", error)

    def alarm(self, alert: Alert, *, again: bool = True) -> None:
        """Raise an alert that may come again, or is told once for all; beside everything else."""
        now = time.monotonic()
        self._alarmed = {k: at for k, at in self._alarmed.items() if now - at < ALARM_SECONDS}
        if alert.title not in self._alarmed:
            self._alarmed[alert.title] = now
            self._spawn(self._alarm(alert, alerts.raise_again if again else alerts.raise_once))

    async def _alarm(self, alert: Alert, tell: Callable[[Alert], int]) -> None:
        try:
            with acting_for_all("alerts are the operators'"):
                await unit(tell, alert)
        except DatabaseError as error:
            self._alarmed.pop(alert.title, None)
            logger.warning("nobody could be told: %s: %s", alert.title, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="budget alerts")
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def close(self) -> None:
        """Let what is under way end."""
        if self._beside:
            await asyncio.wait(tuple(self._beside), timeout=5)


def _read() -> tuple[tuple[OwnPrice, ...], budgets.Set]:
    return read_prices(), budgets.read_set()
