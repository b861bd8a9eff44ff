"""What the engine's users must bring: the shape of a model and of a tool's face."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from agentsite.engine.deltas import Delta
from agentsite.engine.messages import Message

Purpose = Literal[
    "main",
    "subagent",
    "compaction",
    "title",
    "judge",
    "summary",
    "replay",
    "eval",
    "embedding",
    "search",
]
ErrorKind = Literal["rate_limited", "server", "timeout", "auth", "bad_request", "context_overflow"]


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as a model sees it; `parameters` is a JSON schema, passed through untouched."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(msgspec.Struct, frozen=True):
    """One model call, in no vendor's dialect."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    thinking: int | None = None
    """Budget of reasoning tokens; None leaves reasoning off (or at the vendor's default)."""
    session_id: str = ""
    """A stable key that vendors may use to route to a warm prompt cache."""


class Named(Protocol):
    """A model of a provider, as it is metered."""

    @property
    def provider(self) -> str: ...

    @property
    def name(self) -> str: ...


class ModelName(NamedTuple):
    """One that is asked without the loop: for vectors, for a search."""

    provider: str
    name: str


class Model(Protocol):
    """One configured model of one provider."""

    provider: str
    name: str

    def stream(self, request: ModelRequest) -> AsyncIterator[tuple[Delta, ...]]:
        """Ask, and yield batches of deltas as they arrive, `Stopped` last.

        Raises `agentsite.providers.base.ProviderError`, before or in the middle of
        the stream; closing the iterator closes the connection to the vendor.
        """
        ...
