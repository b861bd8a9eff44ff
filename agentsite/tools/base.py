"""What a tool is, and what it is given when it runs.

Law: a tool file is glue. It parses, calls the machinery and shapes the result;
it reaches its session, its scope and its clients through the context alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from agentsite.engine.events import AnyEvent, ToolLogged, ToolProgressed, ToolRelabelled
from agentsite.engine.ports import ToolSpec
from agentsite.manifest.bundle import Bundle
from agentsite.tools.results import ToolError, ToolResult, clean

__all__ = ["ReadResult", "StoredSlice", "Tool", "ToolContext", "ToolError", "ToolResult", "clean"]

Confirm = Literal[False, True, "review", "never"]
LABEL_CHARS = 300
PLACEHOLDER = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
SHOWN_PROBLEMS = 3


class StoredSlice(NamedTuple):
    """A piece of a stored result, and how many characters the whole has."""

    text: str
    total: int


class ReadResult(Protocol):
    """Reads the stored text of an earlier call of this session; None if there is none."""

    async def __call__(self, call_id: str, offset: int, limit: int) -> StoredSlice | None: ...


@dataclass(slots=True, kw_only=True)
class ToolContext:
    """Where one call runs, and how it talks to the clients while it does."""

    agent: str
    """The id under which the agent is served; with `scope_id` the partition."""
    scope_id: str
    session_id: str
    run_id: str
    call_id: str
    tool_name: str
    user: Mapping[str, Any]
    """What is known of the caller; empty for automations."""
    deadline: float
    """Monotonic seconds; at this moment the call is cancelled."""
    bundle: Bundle
    send: Callable[[AnyEvent], None]
    """Takes an event to the run's log; never blocks."""
    read_result: ReadResult
    closed: bool = False
    """Set when the call has its result: what a straggler sends then is dropped."""

    def emit(self, event: AnyEvent) -> None:
        if not self.closed:
            self.send(event)

    def progress(self, data: Any) -> None:
        """Show an intermediate state; any JSON value."""
        self.emit(ToolProgressed(self.call_id, data))

    def log(self, message: str) -> None:
        self.emit(ToolLogged(self.call_id, self.tool_name, clean(message)))

    def set_label(self, running: str | None = None, completed: str | None = None) -> None:
        """Replace what clients show beside the call."""
        running, completed = running and cut_label(running), completed and cut_label(completed)
        self.emit(ToolRelabelled(self.call_id, running, completed, self.tool_name))


Call = Callable[[ToolContext, dict[str, Any]], Awaitable[ToolResult]]


@dataclass(frozen=True)
class Tool:
    """One tool of one agent; made once per bundle, never changed."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema, passed to the model untouched."""
    call: Call
    read_only: bool = False
    """Has no effect: runs again after a crash."""
    idempotent: bool = False
    """Running it twice is like running it once: tried again after transient failures."""
    exclusive: bool = False
    """Runs alone among the calls of its turn."""
    timeout_s: float | None = None
    """None takes the agent's `toolTimeout`."""
    running_label: str | None = None
    completed_label: str | None = None
    internal: bool = False
    """The chat page does not show its calls."""
    confirm: Confirm = False
    question: Literal["ask_user", "ask_choice"] | None = None
    """The call is itself a question to a person: its result is the answer, it never runs."""

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.parameters)

    def labels(self, arguments: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """What clients show while the call runs and afterwards."""
        running, completed = self.running_label, self.completed_label
        return (
            running and render_label(running, arguments),
            completed and render_label(completed, arguments),
        )

    @cached_property
    def _validator(self) -> Draft202012Validator:
        # An empty registry: a schema from elsewhere cannot make this server fetch addresses.
        return Draft202012Validator(self.parameters, registry=Registry())

    def find_problem(self, arguments: dict[str, Any]) -> str | None:
        """Why these arguments do not fit the schema, in one sentence; None if they do."""
        problems = sorted(
            self._validator.iter_errors(arguments), key=lambda p: list(map(str, p.path))
        )
        if not problems:
            return None
        told = "; ".join(map(_describe_problem, problems[:SHOWN_PROBLEMS]))
        more = len(problems) - SHOWN_PROBLEMS
        return f"Invalid parameters: {told}" + (f" (and {more} more)" if more > 0 else "")


def _describe_problem(problem: ValidationError) -> str:
    path = ".".join(map(str, problem.absolute_path))
    message = problem.message
    if len(message) > 300:  # it quotes the value
        message = f"{message[:150]} … {message[-140:]}"
    return f"{path}: {message}" if path else message


def render_label(template: str, arguments: Mapping[str, Any]) -> str:
    """Fill `{{param}}` (dots reach inside); what is missing is dropped, spaces collapse."""
    filled = PLACEHOLDER.sub(lambda match: _label_value(match[1], arguments), template)
    return cut_label(" ".join(filled.split()))


def cut_label(text: str) -> str:
    """A label as it is shown and stored."""
    text = clean(text)
    return text if len(text) <= LABEL_CHARS else f"{text[: LABEL_CHARS - 1]}…"


def _label_value(path: str, value: Any) -> str:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


def object_schema(properties: dict[str, Any], required: Iterable[str]) -> dict[str, Any]:
    """Schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
