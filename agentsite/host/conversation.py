"""What one run knows: its agent, its tools, its models, and the history so far.

Law: values loaded once at the start and appended to as rows are committed; it
builds each request and measures it against the model's real window.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from agentsite.connections.caller import Caller
from agentsite.engine import steps
from agentsite.engine.compaction import window_cut
from agentsite.engine.deltas import Usage
from agentsite.engine.history import clear_old_results, cut_content, repair
from agentsite.engine.messages import ImagePart, Message, TextPart, ToolResultPart
from agentsite.engine.ports import Model, ModelRequest, Purpose
from agentsite.engine.redaction import Redactor
from agentsite.engine.tokens import estimate
from agentsite.engine.transcript import message_id
from agentsite.host.agents import Agent, Offer
from agentsite.host.prompt_book import PromptBook
from agentsite.manifest.bundle import Tier
from agentsite.rows.secrets import Sealed
from agentsite.tools.base import Tool
from agentsite.tools.toolset import specs
from sessions_app.history import Remembered
from sessions_app.scopes import open_all

COMPACT_AT = 0.8


class Replay(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run that repeats another one against its record (`host.replay`)."""

    run: str
    """The finished run."""
    model: str = ""
    """`provider/model` of the agent's manifest; empty: as then."""
    system: str | None = None
    """In place of the system prompt of then."""
    skills: dict[str, str] = {}
    """What the activation of a skill answers, by its name."""


class RunRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller asked for besides the message; stands on the run's row."""

    tier: Tier = "main"
    pinned: int | None = None
    """Place in the agent's list of models, when the caller named one."""
    max_session_tokens: int | None = None
    context: dict[str, str] = {}
    user: dict[str, Any] = {}
    key: int | None = None
    """Id of the API key that asked: its budgets count."""
    make_title: bool = False
    """A conversation: its session gets a title once the agent has answered, if it has none."""
    admin: bool = False
    """A run of an admin session: it is offered what only the role `admin` may use."""
    automation: str = ""
    """Name of the automation whose run it is."""
    read_only: bool = False
    """Nothing outside of this server's rows may be written."""
    alone: bool = False
    """Nobody is there to be asked: every question is a denial."""
    replay: Replay | None = None
    evaluation: bool = False
    """A run of an eval (`agentsite.evals`)."""

    @property
    def purpose(self) -> Purpose:
        """What the model calls of its own loop count as."""
        if self.replay is not None:
            return "replay"
        return "eval" if self.evaluation else "main"


class Persona(NamedTuple):
    """Who speaks when it is not the agent itself: a sub-agent."""

    system: str
    tools: dict[str, Tool]
    seconds: float
    """How long it may take."""
    above: Conversation | None = None
    """Whoever dispatched it: what one of them learns to keep secret, both do."""


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
        sealed: tuple[Sealed, ...] = (),
        persona: Persona | None = None,
    ) -> None:
        system = "\n\n".join(filter(None, (agent.prompt, memory)))
        self.persona = persona or Persona(
            system, agent.tools(admin=request.admin), agent.block.run_timeout
        )
        self.agent = agent
        self.bundle = agent.bundle
        self._secrets = open_all(sealed)
        self._redactor = agent.redactor_with(self._secrets)
        self.session_id, self.run_id, self.scope_id = session_id, run_id, scope_id
        self.request = request
        self.tools = self.persona.tools
        self._offered: Mapping[str, Tool] = self.tools
        self.models: tuple[Model, ...] = agent.models(request.tier, request.pinned)
        self.window = agent.window(request.tier, request.pinned)
        self.hint = ""
        self.cut = False
        """No summary could be made: show the model the newest part only."""
        self.last_estimate = 0
        self.next_request: ModelRequest | None = None
        self.next_messages: tuple[Message, ...] = ()
        """Its messages with images as they are stored, for the prompt book."""
        self.prompts = PromptBook()
        self._system = self.persona.system
        self._specs = agent.specs(admin=request.admin) if persona is None else specs(persona.tools)
        self._history = [self._shorten(item) for item in history]
        self._images = dict(images)
        self._places = assistant_messages
        self._message_ids = list(message_ids)
        self.session_usage = session_usage
        self._ends_at = time.monotonic() + self.persona.seconds - seconds_used

    def learn(self, secret: str) -> None:
        """Another secret of the scope, from now on taken out like the others."""
        if self.persona.above is not None:
            self.persona.above.learn(secret)
        elif secret not in self._secrets:
            self._secrets = (*self._secrets, secret)
            self._redactor = self.agent.redactor_with(self._secrets)

    def take(self, offer: Offer) -> None:
        """The tools of the agent's run, when those of MCP servers are known."""
        self.tools, self._specs = offer
        self._offered = self.tools

    @property
    def offered(self) -> Mapping[str, Tool]:
        """What the run has been offered, of which sub-agents get a part."""
        above = self.persona.above
        return self._offered if above is None else above.offered

    @property
    def redactor(self) -> Redactor:
        """Takes the secrets of agent and scope out of whatever leaves or is stored."""
        above = self.persona.above
        return self._redactor if above is None else above.redactor

    @cached_property
    def caller(self) -> Caller:
        """For whom calls are made, as the rules of connections ask."""
        request = self.request
        return Caller(
            user=request.user,
            context=request.context,
            delegated=bool(request.automation),
            read_only=request.read_only,
        )

    @property
    def attended(self) -> bool:
        """Whether people can be asked: nobody answers a replay."""
        return self.request.replay is None

    @property
    def threshold(self) -> int:
        return int(self.window * COMPACT_AT)

    @property
    def history(self) -> tuple[Remembered, ...]:
        return tuple(self._history)

    def allow(self, seconds: float) -> None:
        """So many seconds are left from now on (those that went by were not its own)."""
        self._ends_at = time.monotonic() + seconds

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
        if cap is not None and (self.session_usage + spent).total >= cap:
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
        self.next_messages = messages
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
