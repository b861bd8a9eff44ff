"""Who pays for the model calls of one run, and what is held for each of them.

Law: before a call its highest price is kept back, in one short unit; where no budget counts,
nothing is asked. Of the main loop's calls so much more is held that one closing turn can follow.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Literal, NamedTuple

from django.db import transaction
from msgspec.structs import replace

from agentsite.engine.compaction import window_cut
from agentsite.engine.ports import ModelRequest, Named, Purpose
from agentsite.host.agents import Agent
from agentsite.host.clock import new_id
from agentsite.host.ledger import Ledger
from agentsite.manifest.models import ModelConfig
from agentsite.operations import budgets
from agentsite.operations.alerts import refused_credentials, unknown_price
from agentsite.operations.budgets import Asked, Limit, Payer, Standing
from agentsite.providers.ceiling import (
    LEAST_ANSWER_TOKENS,
    Known,
    Pricing,
    answer_ceiling,
    cost_ceiling,
    input_ceiling,
)
from agentsite.rows.units import unit
from sessions_app.actions import RunRef
from sessions_app.metering import FinishedCall, is_recorded, record_model_call

Manner = Literal["main", "closing", "beside"]
"""A turn of the main loop, its last one, or any other call of the run."""
CLOSING_TOKENS = 1_024
CLOSING_ROOM = 4_000
"""Tokens that a closing turn may be longer than the turn for which it was kept back."""
LEAST_CLOSING = 128
LEAST_SECONDS = 900.0
CUTS = 4
"""How often a closing turn is made shorter until it fits what is left."""


class BudgetSpent(Exception):
    """A call was not made, because this budget has too little left."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.words())
        self.standing = standing


class Held(NamedTuple):
    """A call that may be made, and the name of what is held for it (empty: nothing)."""

    request: ModelRequest
    id: str = ""


class Purse:
    """Of one run, or of whatever else asks models for an agent."""

    def __init__(
        self, ledger: Ledger, agent: Agent, payer: Payer, *, begun: asyncio.Event | None = None
    ) -> None:
        self.begun = begun
        """Set when the run that it is for is durable; None: there is nothing to wait for."""
        self.agent = agent
        self.payer = payer
        self.used = False
        """Something was held."""
        self._ledger = ledger
        self._limits: tuple[Limit, ...] = tuple(
            limit
            for limit in ledger.limits(agent)
            if limit.kind != "key" or payer.key_id is not None
        )
        self._news = False

    def pricing(self, model: Named, at: dt.datetime) -> Pricing:
        """How a call of this moment is priced."""
        return self._ledger.pricing(self.agent, model, at)

    async def hold(
        self,
        model: Named,
        request: ModelRequest,
        purpose: Purpose,
        pricing: Pricing,
        *,
        manner: Manner = "beside",
        known: Known | None = None,
        back: Sequence[str] = (),
        seconds: float = LEAST_SECONDS,
    ) -> Held:
        """Keep back what a call may cost; its answer may be shorter then. Raises `BudgetSpent`.

        `back` names what was held for calls that have failed, `known` a request that the vendor
        has counted.
        """
        if not self._limits and not self._ledger.is_limited(self.payer):
            return Held(request)
        if self.begun is not None:
            await self.begun.wait()
        config = self._config(model)
        refused: Standing | None = None
        for cut in range(CUTS):
            call = _Call(request, model, config, pricing, known, manner)
            if call.most == 0:  # it costs nothing
                return Held(request)
            asked = Asked(
                id=new_id("hold"),
                purpose=purpose,
                least=call.least,
                most=call.most,
                closing=call.closing,
                seconds=max(seconds + 60, LEAST_SECONDS),
            )
            got = await unit(_hold, self.payer, self._limits, asked, tuple(back))
            if got is None:
                return Held(request)
            self.used = True
            if isinstance(got, int):
                return Held(replace(request, max_tokens=call.afford(got)), asked.id)
            refused = got
            if manner != "closing" or (shorter := call.shorten(got.left, cut)) is None:
                break
            request = shorter
        if refused is None:
            raise RuntimeError("no try was made")
        self._ledger.watch(self.payer, self._limits, refused)
        raise BudgetSpent(refused)

    def alarm(self, model: Named, problem: str) -> None:
        """Tell operators that a provider refuses the agent's credentials."""
        label = f"{model.provider}/{model.name}"
        told = self.agent.redactor.text(problem)
        self._ledger.alarm(refused_credentials(self.agent.id, label, told))

    def miss_price(self, model: Named) -> None:
        """Tell operators that nobody knows what calls of a model cost."""
        label = f"{model.provider}/{model.name}"
        self._ledger.alarm(unknown_price(label, self.agent.id), again=False)

    def note(self) -> None:
        """Calls that were held for were written: budgets may have passed their soft limits."""
        self._news = self.used

    def look(self) -> None:
        """Look at the budgets, if there is news of them; after the commit."""
        if self._news:
            self._news = False
            self._ledger.watch(self.payer, self._limits)

    def _config(self, model: Named) -> ModelConfig:
        place = self.agent.find_model(model.provider, model.name)
        if place is not None:
            return self.agent.configs[place]
        return ModelConfig(provider=model.provider, model=model.name)  # type: ignore[arg-type]  # one of ours


class _Call:
    """What one call may cost, in micro-dollars."""

    def __init__(
        self,
        request: ModelRequest,
        model: Named,
        config: ModelConfig,
        pricing: Pricing,
        known: Known | None,
        manner: Manner,
    ) -> None:
        self._request, self._pricing = request, pricing
        label = f"{model.provider}/{model.name}"
        self._tokens = input_ceiling(request, label, known)
        # Where reasoning has a share of its own, it comes on top of the answer.
        self._thinking = request.thinking if request.thinking is not None else config.thinking or 0
        self._wanted = answer_ceiling(request, config)
        least = LEAST_ANSWER_TOKENS
        if manner == "closing":
            self._wanted, least = min(self._wanted, CLOSING_TOKENS), LEAST_CLOSING
        self.least = self._cost(min(self._wanted, least))
        self.most = self._cost(self._wanted)
        self.closing: int | None = {"closing": 0, "beside": None}.get(manner, 0)
        if manner == "main":
            self.closing = self._cost(CLOSING_TOKENS, CLOSING_ROOM)

    def _cost(self, answer: int, more: int = 0) -> int:
        return cost_ceiling(self._pricing, self._tokens + more, answer + self._thinking)

    def afford(self, micros: int) -> int:
        """Tokens that the answer may have for so much money; at least one."""
        low, high = 1, self._wanted
        while low < high:
            middle = (low + high + 1) // 2
            if self._cost(middle) <= micros:
                low = middle
            else:
                high = middle - 1
        return low

    def shorten(self, micros: int, cut: int) -> ModelRequest | None:
        """The request without its older part, so that it fits so much money; None: it cannot."""
        low, high = 0, self._tokens
        while low < high:
            middle = (low + high + 1) // 2
            if cost_ceiling(self._pricing, middle, LEAST_CLOSING + self._thinking) <= micros:
                low = middle
            else:
                high = middle - 1
        bare = input_ceiling(replace(self._request, messages=()), "")
        room = (low - bare) // (4 << cut)  # `window_cut` counts four bytes for a token
        messages = window_cut(self._request.messages, room) if room > 0 else ()
        if not messages or messages == self._request.messages:
            return None
        return replace(self._request, messages=messages)


def _hold(
    payer: Payer, limits: tuple[Limit, ...], asked: Asked, back: tuple[str, ...]
) -> int | Standing | None:
    budgets.settle(back)
    return budgets.reserve(payer, limits, asked)


def record_calls(ref: RunRef, rows: Sequence[FinishedCall]) -> None:
    """Write the rows of model calls, and give back what was held for them, in one transaction."""
    for row in rows:
        record_model_call(ref, row)
    budgets.settle(row.hold for row in rows if row.hold)


def record_calls_once(ref: RunRef, rows: Sequence[FinishedCall]) -> None:
    """The same for calls of one purpose that come after a run's end (its title).

    May be repeated when nobody knows whether it was done: a second time changes nothing.
    """
    with transaction.atomic():
        if rows and not is_recorded(ref, rows):
            record_calls(ref, rows)
