"""Watches one request through its tries and fallbacks: what is held for it, and what it was.

Law: each try is one metering row, failed ones too, priced with the prices of its beginning.
"""

from __future__ import annotations

import datetime as dt
import logging
import time

import msgspec

from agentsite.engine.deltas import Usage
from agentsite.engine.events import AnyEvent, Noticed, ProviderSwitched
from agentsite.engine.messages import Message
from agentsite.engine.ports import Model, ModelRequest, Named, Purpose
from agentsite.engine.tokens import estimate, text_tokens
from agentsite.host.purse import LEAST_SECONDS, Manner, Purse
from agentsite.providers.base import ProviderError
from agentsite.providers.ceiling import Known, Pricing, charge
from agentsite.telemetry import record
from sessions_app.metering import FinishedCall

logger = logging.getLogger(__name__)


class Meter:
    """Of one request; `rows` are its tries."""

    def __init__(
        self,
        purse: Purse,
        purpose: Purpose,
        turn: int = 0,
        *,
        manner: Manner = "beside",
        known: Known | None = None,
        seconds: float = LEAST_SECONDS,
    ) -> None:
        self._purse, self.purpose, self._turn = purse, purpose, turn
        self._manner, self._known, self._seconds = manner, known, seconds
        self._model: Named | None = None
        self._pricing: Pricing | None = None
        self._hold = ""
        self._request: ModelRequest | None = None
        self._asked_at = time.monotonic()
        self._first_at: float | None = None
        self.rows: list[FinishedCall] = []
        self.sent: list[tuple[Message, ...]] = []
        """Messages of the request of each row: what was held may have made it shorter."""
        self.events: list[AnyEvent] = []

    @property
    def provider(self) -> str:
        return self._model.provider if self._model is not None else ""

    async def admit(self, model: Named, request: ModelRequest) -> ModelRequest:
        """Hold what a try may cost; what it may ask for then. Raises `BudgetSpent`."""
        self._pricing = self._purse.pricing(model, dt.datetime.now(dt.UTC))
        held = await self._purse.hold(
            model,
            request,
            self.purpose,
            self._pricing,
            manner=self._manner,
            known=self._known,
            back=[row.hold for row in self.rows if row.hold],
            seconds=self._seconds,
        )
        self._hold, self._request = held.id, held.request
        return held.request

    def asked(self, model: Named) -> None:
        self._model, self._asked_at, self._first_at = model, time.monotonic(), None

    def failed(self, model: Named, error: ProviderError) -> None:
        """A try that brought nothing; one that was cut later is closed with what came of it."""
        self._model = model
        if error.kind == "auth":
            self._purse.alarm(model, str(error))
        if self._first_at is None:
            self.close(Usage(), error.kind)

    def switched(self, source: Model, target: Model, error: ProviderError) -> None:
        names = (f"{source.provider}/{source.name}", f"{target.provider}/{target.name}")
        logger.warning("switched from %s to %s: %s", *names, error)
        self.events.append(ProviderSwitched(*names, error.kind))

    def retrying(self, model: Model, error: ProviderError, seconds: float) -> None:
        text = f"{model.provider}/{model.name} did not answer ({error.kind}); trying again"
        logger.warning("%s in %.1f s: %s", text, seconds, error)
        self.events.append(Noticed(f"{text} in {seconds:.0f} s.", level="warning"))

    def saw_delta(self) -> None:
        if self._first_at is None:
            self._first_at = time.monotonic()

    def _complete(self, usage: Usage, error: str, said: str) -> Usage:
        """What a try has used at least: vendors tell of it at the end, which a cut one has not."""
        if not error or self._first_at is None or self._request is None:
            return usage
        heard = max(usage.output + usage.reasoning, text_tokens(said)) - usage.reasoning
        told = usage.total - usage.output - usage.reasoning
        request = self._request
        asked = 0 if told else estimate(request.messages, request.system, request.tools)
        return msgspec.structs.replace(usage, input=usage.input + asked, output=heard)

    def count(self, request: ModelRequest, usage: Usage) -> Known | None:
        """What the vendor has counted of this request, as a measure for the next one."""
        tokens = usage.total - usage.output - usage.reasoning
        if self._model is None or not self._hold or not tokens:
            return None
        label = f"{self._model.provider}/{self._model.name}"
        return Known(label, request.messages, tokens)

    def close(self, usage: Usage, error: str = "", said: str = "") -> None:
        """The present try is over: one row. `said` is as far as an answer came that was cut."""
        if self._model is None or self._pricing is None or self._request is None:
            return
        model, self._model = self._model, None
        hold, self._hold = self._hold, ""
        priced = self._pricing(usage)
        if priced.micros is None and usage.total:
            self._purse.miss_price(model)
        first = self._first_at
        row = FinishedCall(
            agent=self._purse.agent.id,
            purpose=self.purpose,
            turn=self._turn,
            provider=model.provider,
            model=model.name,
            usage=usage,
            price=priced.snapshot,
            cost_micros=priced.micros,
            charge_micros=charge(self._pricing, self._complete(usage, error, said)),
            key_id=self._purse.payer.key_id,
            hold=hold,
            first_token_ms=None if first is None else round((first - self._asked_at) * 1000),
            total_ms=round((time.monotonic() - self._asked_at) * 1000),
            error=error,
        )
        self.rows.append(row)
        self.sent.append(self._request.messages)
        record.model_called(
            agent=row.agent,
            provider=row.provider,
            model=row.model,
            purpose=row.purpose,
            tokens=msgspec.to_builtins(usage),
            cost_micros=row.cost_micros,
            first_token_ms=row.first_token_ms,
            total_ms=row.total_ms,
            error=error,
        )
