"""One model call of a run: streamed to clients, metered, and recorded as a turn.

Law: text leaves at once; nothing else of an answer is used before it is whole.
Each request to a provider, failed ones too, becomes one metering row.
"""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentsite.engine import steps
from agentsite.engine.assemble import Assembly
from agentsite.engine.deltas import Delta, TextDelta, ThinkingDelta, Usage
from agentsite.engine.events import (
    AnyEvent,
    ContextMeasured,
    Noticed,
    ProviderSwitched,
    TextStreamed,
    ThinkingStreamed,
    ToolStarted,
)
from agentsite.engine.messages import Message, ToolCallPart
from agentsite.engine.ports import Model, ModelRequest, Purpose
from agentsite.host.agents import Agent
from agentsite.host.clock import new_id
from agentsite.host.questions import must_ask
from agentsite.providers.base import ProviderError
from agentsite.providers.fallback import stream_with_fallback
from agentsite.tools.results import clean_json
from sessions_app import actions
from sessions_app.actions import NewCall
from sessions_app.metering import FinishedCall

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

logger = logging.getLogger(__name__)

NUL, REPLACEMENT = "\x00", "\ufffd"
"""No text column takes a NUL, and models can write one."""


class Meter:
    """Observes one request through its tries and fallbacks; yields the metering rows."""

    def __init__(self, agent: Agent, purpose: Purpose, turn: int) -> None:
        self._agent, self._purpose, self._turn = agent, purpose, turn
        self._model: Model | None = None
        self._asked_at = time.monotonic()
        self._first_at: float | None = None
        self.rows: list[FinishedCall] = []
        self.events: list[AnyEvent] = []

    @property
    def provider(self) -> str:
        return self._model.provider if self._model is not None else ""

    def asked(self, model: Model) -> None:
        self._model, self._asked_at, self._first_at = model, time.monotonic(), None

    def failed(self, model: Model, error: ProviderError) -> None:
        """A try that brought nothing."""
        self._model = model
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

    def close(self, usage: Usage, error: str = "") -> None:
        """The present try is over: one row, priced now."""
        if self._model is None:
            return
        model, self._model = self._model, None
        priced = self._agent.price(model.provider, model.name, usage)
        first = self._first_at
        self.rows.append(
            FinishedCall(
                agent=self._agent.id,
                purpose=self._purpose,
                turn=self._turn,
                provider=model.provider,
                model=model.name,
                usage=usage,
                price=priced.snapshot,
                cost_micros=priced.micros,
                first_token_ms=None if first is None else round((first - self._asked_at) * 1000),
                total_ms=round((time.monotonic() - self._asked_at) * 1000),
                error=error,
            )
        )


class Answer:
    """The answer of one turn, while it comes and when it is recorded."""

    def __init__(self, driver: Driver, turn: int, request: ModelRequest) -> None:
        self._driver = driver
        self._request = request
        self._assembly = Assembly()
        self._meter = Meter(driver.conversation.agent, "main", turn)
        self._first: tuple[int, int] | None = None
        """Number and time of the first text."""
        self._message: Message | None = None

    async def stream(self) -> None:
        """Ask the model; posts `ModelFinished` or `ModelFailed` to the driver."""
        conversation = self._driver.conversation
        asked = stream_with_fallback(conversation.models, self._request, self._meter)
        try:
            async with aclosing(asked) as stream:  # leaving it closes the vendor's connection
                async for batch in stream:
                    self._assembly.feed(batch)
                    self._send(batch)
                    if self._driver.log.is_short:
                        await self._driver.make_room()
        except ProviderError as error:
            self._meter.close(self._assembly.usage, error.kind)
            self._driver.post(
                steps.ModelFailed(
                    error.kind,
                    str(error),
                    retryable=error.kind in ("rate_limited", "server", "timeout"),
                    estimated=conversation.last_estimate,
                    threshold=conversation.threshold,
                )
            )
            return
        provider = self._meter.provider
        self._meter.close(self._assembly.usage)
        whole = self._assembly.message(
            lambda: new_id("tc"), provider, id=conversation.next_message_id()
        )
        self._message = conversation.agent.redactor.struct(_storable(whole))
        calls = tuple(self._plan(call) for call in self._message.tool_calls)
        self._driver.post(steps.ModelFinished(calls))

    def _plan(self, call: ToolCallPart) -> steps.PlannedCall:
        tool = self._driver.conversation.tools.get(call.name)
        gate: Literal["run", "ask"] = "ask" if must_ask(tool, call) else "run"
        return steps.PlannedCall(call.id, call.name, call.arguments, gate)

    def _send(self, batch: tuple[Delta, ...]) -> None:
        if len(batch) == 1 and isinstance(batch[0], TextDelta):  # the usual case at real time
            text, thinking = batch[0].text, ""
        else:
            text = "".join(delta.text for delta in batch if isinstance(delta, TextDelta))
            thinking = "".join(d.text for d in batch if isinstance(d, ThinkingDelta))
        if self._meter.events:
            self._driver.announce(self._meter.events)
            self._meter.events = []
        self._meter.saw_delta()
        if NUL in text:
            text = text.replace(NUL, REPLACEMENT)
        if thinking and self._driver.conversation.agent.block.expose_thinking:
            self._driver.emit(ThinkingStreamed(thinking))
        if text:
            entry = self._driver.emit(TextStreamed(text))
            if self._first is None:
                self._first = (entry.seq, entry.at)

    def record(self, *, partial: bool) -> tuple[int, Message] | None:
        """Add the turn to the driver's step; returns its position and message, if there is one."""
        driver, step = self._driver, self._driver.step
        self._meter.close(self._assembly.usage, "cancelled")
        for event in self._meter.events:
            step.add(event)
        driver.spend(self._meter.rows)
        message = self._message
        if partial or message is None:
            message = _storable(self._assembly.partial(id=driver.conversation.next_message_id()))
        else:
            step.add(self._measure())
        if not message.text and not message.tool_calls:  # nothing that anybody was shown
            return None
        position, at = self._first or (step.next_seq, step.at)
        step.write(
            actions.record_message,
            driver.ref,
            message,
            position=position,
            at=at,
            partial=partial,
            calls=tuple(self._announce(call) for call in message.tool_calls),
        )
        driver.conversation.append(position, message)
        return position, message

    def _announce(self, call: ToolCallPart) -> NewCall:
        """Tell clients of a call before it runs; returns its row."""
        driver = self._driver
        tool = driver.conversation.tools.get(call.name)
        running, completed = tool.labels(call.arguments) if tool else (None, None)
        internal = tool.internal if tool else False
        driver.step.add(
            ToolStarted(call.id, call.name, call.arguments, running, completed, internal)
        )
        status = next((c.status for c in driver.state.calls if c.id == call.id), "held")
        return NewCall(
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            status="running" if status == "running" else "held",
            running_label=running or "",
            completed_label=completed or "",
            internal=internal,
        )

    def _measure(self) -> ContextMeasured:
        usage = self._assembly.usage
        tokens = usage.total - usage.output - usage.reasoning
        window = self._driver.conversation.window
        return ContextMeasured(tokens, window, round(100 * tokens / window, 1))


def _storable(message: Message) -> Message:
    if b"\\u0000" not in msgspec.json.encode(message):
        return message
    return msgspec.convert(clean_json(msgspec.to_builtins(message)), Message)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(NUL, REPLACEMENT)
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    return value
