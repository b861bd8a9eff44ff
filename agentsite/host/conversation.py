"""What one run knows: its agent, its tools, its models, and the history so far.

Law: values loaded once at the start and appended to as rows are committed; it
builds each request and measures it against the model's real window.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from agentsite.engine import steps
from agentsite.engine.compaction import window_cut
from agentsite.engine.deltas import Usage
from agentsite.engine.history import clear_old_results, cut_content, repair
from agentsite.engine.messages import ImagePart, Message, TextPart, ToolResultPart
from agentsite.engine.ports import Model, ModelRequest
from agentsite.engine.tokens import estimate
from agentsite.engine.transcript import message_id
from agentsite.host.agents import Agent
from agentsite.manifest.bundle import Tier
from sessions_app.history import Remembered

COMPACT_AT = 0.8


class RunRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller asked for besides the message; stands on the run's row."""

    tier: Tier = "main"
    pinned: int | None = None
    """Place in the agent's list of models, when the caller named one."""
    max_session_tokens: int | None = None
    context: dict[str, str] = {}
    user: dict[str, Any] = {}
    make_title: bool = False


class Conversation:
    """The state of one attempt that is not the machine's."""

    def __init__(
        self,
        *,
        agent: Agent,
        session_id: str,
        run_id: str,
        scope_id: str,
        request: RunRequest,
        history: tuple[Remembered, ...],
        images: Mapping[str, ImagePart],
        session_usage: Usage,
        assistant_messages: int,
        message_ids: tuple[str, ...],
        seconds_used: float,
        memory: str = "",
    ) -> None:
        self.agent = agent
        self.bundle = agent.bundle
        self.session_id, self.run_id, self.scope_id = session_id, run_id, scope_id
        self.request = request
        self.tools = agent.tools
        self.models: tuple[Model, ...] = agent.models(request.tier, request.pinned)
        self.window = agent.window(request.tier, request.pinned)
        self.hint = ""
        self.cut = False
        """No summary could be made: show the model the newest part only."""
        self.last_estimate = 0
        self.next_request: ModelRequest | None = None
        self._system = "\n\n".join(filter(None, (agent.prompt, memory)))
        self._specs = agent.specs
        self._history = [self._shorten(item) for item in history]
        self._images = dict(images)
        self._session_usage = session_usage
        self._places = assistant_messages
        self._message_ids = list(message_ids)
        self._ends_at = time.monotonic() + agent.block.run_timeout - seconds_used

    @property
    def threshold(self) -> int:
        return int(self.window * COMPACT_AT)

    @property
    def history(self) -> tuple[Remembered, ...]:
        return tuple(self._history)

    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def next_message_id(self) -> str:
        """Id of the assistant message that is recorded next."""
        return message_id(self.run_id, self._places + 1)

    def append(self, position: int, message: Message) -> None:
        item = self._shorten(Remembered(position, message))
        if message.id:
            self._message_ids.append(message.id)
        if message.role == "assistant":
            self._places += 1
        if message.role == "tool":  # directly behind its calls, whatever has joined since
            place = next(n for n, said in enumerate(self._history) if said.position == position)
            self._history.insert(place + 1, item)
        else:
            self._history.append(item)

    def add_images(self, images: Mapping[str, ImagePart]) -> None:
        """Stored images that a message brings which joins the run."""
        self._images.update(images)

    def message_ids_of_run(self) -> tuple[str, ...]:
        """Ids of all this run's messages, as clients know them, summaries too."""
        return tuple(self._message_ids)

    def summarise(self, summary: Remembered, rest: tuple[Remembered, ...]) -> None:
        """After a compaction: the summary stands for all but the rest."""
        self._message_ids.append(summary.message.id)
        self._history = [summary, *rest]

    def measure(self, spent: Usage) -> steps.ContextReady | steps.ContextFull | steps.Cancelled:
        """Build the next request and say whether it fits."""
        cap = self.request.max_session_tokens
        if cap is not None and (self._session_usage + spent).total >= cap:
            return steps.Cancelled("budget_exceeded")
        messages = self._messages()
        self.last_estimate = estimate(messages, self._system, self._specs)
        if self.last_estimate > self.threshold:
            if not self.cut:
                return steps.ContextFull(self.last_estimate, self.threshold)
            room = self.threshold - estimate((), self._system, self._specs)
            messages = window_cut(messages, max(room, 0))
        if self.hint:
            messages = (*messages, Message("user", (TextPart(self.hint),)))
        self.next_request = ModelRequest(
            system=self._system,
            messages=tuple(self._resolve(message) for message in messages),
            tools=self._specs,
            session_id=self.session_id,
        )
        return steps.ContextReady()

    def estimate_history(self, history: tuple[Remembered, ...]) -> int:
        messages = repair([item.message for item in history])
        return estimate(messages, self._system, self._specs)

    def _messages(self) -> tuple[Message, ...]:
        return clear_old_results(repair([item.message for item in self._history]))

    def _shorten(self, item: Remembered) -> Remembered:
        """Cut long results for the model; the rows keep the whole."""
        if item.message.role != "tool":
            return item
        parts = tuple(
            msgspec.structs.replace(part, content=cut_content(part.content, part.call_id))
            if isinstance(part, ToolResultPart)
            else part
            for part in item.message.parts
        )
        return Remembered(item.position, msgspec.structs.replace(item.message, parts=parts))

    def _resolve(self, message: Message) -> Message:
        """Stored images in place of their ids."""
        if not any(isinstance(part, ImagePart) and part.attachment for part in message.parts):
            return message
        parts = tuple(
            self._images.get(part.attachment, TextPart("[image no longer stored]"))
            if isinstance(part, ImagePart) and part.attachment
            else part
            for part in message.parts
        )
        return msgspec.structs.replace(message, parts=parts)
