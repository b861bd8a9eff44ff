"""One model call of a run: streamed to clients, metered, and recorded as a turn.

Law: text leaves at once; nothing else of an answer is used before it is whole.
Each request to a provider, failed ones too, becomes one metering row.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import msgspec

from agentsite.engine import steps
from agentsite.engine.assemble import Assembly
from agentsite.engine.deltas import Delta, TextDelta, ThinkingDelta
from agentsite.engine.events import (
    ContextMeasured,
    TextStreamed,
    ThinkingStreamed,
    ToolStarted,
)
from agentsite.engine.messages import Message, ToolCallPart
from agentsite.engine.ports import ModelRequest
from agentsite.host.clock import new_id
from agentsite.host.meter import Meter
from agentsite.host.prompt_book import as_stored
from agentsite.host.purse import BudgetSpent, Manner
from agentsite.host.questions import must_ask
from agentsite.host.redaction_stream import AnswerCleaner
from agentsite.providers.base import ProviderError
from agentsite.providers.fallback import stream_with_fallback
from agentsite.tools.results import clean_json
from sessions_app.actions import NewCall
from sessions_app.metering import FinishedCall
from sessions_app.prompts import record_prompt

if TYPE_CHECKING:
    from agentsite.host.driver import Driver
    from agentsite.host.step import Step

NUL, REPLACEMENT = "\x00", "\ufffd"
"""No text column takes a NUL, and models can write one."""


class Answer:
    """The answer of one turn, while it comes and when it is recorded."""

    def __init__(self, driver: Driver, turn: int, request: ModelRequest) -> None:
        self._driver = driver
        self._request = request
        self._asked = driver.conversation.next_messages
        self._assembly = Assembly()
        self._cleaner = AnswerCleaner(driver.conversation.redactor)
        manner: Manner = "closing" if driver.state.closing else driver.manner
        self._meter = Meter(
            driver.purse,
            driver.purpose,
            turn,
            manner=manner,
            known=driver.known,
            seconds=driver.conversation.seconds_left(),
        )
        self._first: tuple[int, int] | None = None
        """Number and time of the first text."""
        self._message: Message | None = None

    async def stream(self) -> None:
        """Ask the model; posts `ModelFinished` or `ModelFailed` to the driver."""
        conversation = self._driver.conversation
        asked = stream_with_fallback(conversation.models, self._request, self._meter)
        try:
            async with aclosing(asked) as stream:  # leaving it closes the vendor's connection
                async for whole_batch in stream:
                    self._meter.saw_delta()
                    if not self._driver.begun.is_set():
                        await self._driver.begun.wait()
                    batch = self._cleaner.clean(whole_batch)
                    self._assembly.feed(batch)
                    self._send(batch)
                    if self._driver.log.is_short:
                        await self._driver.make_room()
        except BudgetSpent as spent:
            self._driver.post(steps.Unaffordable(str(spent), self._driver.manner == "main"))
            return
        except ProviderError as error:
            self._meter.close(self._assembly.usage, error.kind, self._assembly.text)
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
        left = self._cleaner.end()
        self._assembly.feed(left)
        self._send(left)
        provider = self._meter.provider
        self._driver.known = self._meter.count(self._request, self._assembly.usage)
        self._meter.close(self._assembly.usage)
        whole = self._assembly.message(
            lambda: new_id("tc"), provider, id=conversation.next_message_id()
        )
        self._message = conversation.redactor.struct(_storable(whole))
        calls = tuple(self._plan(*each) for each in enumerate(self._message.tool_calls))
        self._driver.post(steps.ModelFinished(calls))

    def _plan(self, place: int, call: ToolCallPart) -> steps.PlannedCall:
        conversation = self._driver.conversation
        tool = conversation.tools.get(call.name)
        driver = self._driver
        asks = must_ask(tool, call, conversation.agent.guard, driver.caller)
        asks = asks and place < driver.calls_left and conversation.attended
        gate: Literal["run", "ask"] = "ask" if asks else "run"
        dispatch = tool is not None and tool.dispatch and call.invalid is None
        return steps.PlannedCall(call.id, call.name, call.arguments, gate, dispatch)

    def _send(self, batch: tuple[Delta, ...]) -> None:
        if len(batch) == 1 and isinstance(batch[0], TextDelta):  # the usual case at real time
            text, thinking = batch[0].text, ""
        else:
            text = "".join(delta.text for delta in batch if isinstance(delta, TextDelta))
            thinking = "".join(d.text for d in batch if isinstance(d, ThinkingDelta))
        if self._meter.events:
            self._driver.announce(self._meter.events)
            self._meter.events = []
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
        self._meter.close(self._assembly.usage, "cancelled", self._assembly.text)
        for event in self._meter.events:
            step.add(event)
        driver.spend(self._note_prompts(step))
        self._add_left()
        message = self._message
        if partial or message is None:
            message = _storable(self._assembly.partial(id=driver.conversation.next_message_id()))
        elif driver.purpose != "subagent":
            step.add(self._measure())
        if not message.text and not message.tool_calls:  # nothing that anybody was shown
            return None
        position, at = self._first or (step.next_seq, step.at)
        calls = tuple(self._announce(call) for call in message.tool_calls)
        driver.keep(message, position, at, partial=partial, calls=calls)
        return position, message

    def _add_left(self) -> None:
        """What an answer that was cut off kept back."""
        left = self._cleaner.end()
        self._assembly.feed(left)
        text = "".join(delta.text for delta in left if isinstance(delta, TextDelta))
        if text:
            step = self._driver.step
            position = step.add(TextStreamed(text.replace(NUL, REPLACEMENT)))
            self._first = self._first or (position, step.at)

    def abandon(self, step: Step) -> list[FinishedCall]:
        """What the request has cost so far, when nothing else will be recorded of it."""
        self._meter.close(self._assembly.usage, "cancelled", self._assembly.text)
        rows = self._note_prompts(step)
        self._meter.rows, self._meter.sent = [], []
        return rows

    def _note_prompts(self, step: Step) -> list[FinishedCall]:
        """The metering rows, each with the request as it was sent for it."""
        driver, request = self._driver, self._request
        noted: list[FinishedCall] = []
        before: tuple[Message, ...] | None = None
        prompt = ""
        for row, sent in zip(self._meter.rows, self._meter.sent, strict=True):
            if sent is not before:
                before = sent
                messages = as_stored(sent, request.messages, self._asked)
                told = driver.conversation.prompts.note(request.system, request.tools, messages)
                step.write(record_prompt, driver.ref.session_id, driver.ref.run_id, told)
                prompt = told.id
            noted.append(msgspec.structs.replace(row, prompt=prompt))
        return noted

    def _announce(self, call: ToolCallPart) -> NewCall:
        """Tell clients of a call before it runs; returns its row."""
        driver = self._driver
        tool = driver.conversation.tools.get(call.name)
        running, completed = tool.labels(call.arguments) if tool else (None, None)
        internal = tool.internal if tool else False
        driver.step.add(
            ToolStarted(call.id, call.name, call.arguments, running, completed, internal)
        )
        return NewCall(
            id=call.id,
            name=call.name,
            arguments=call.arguments,
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
