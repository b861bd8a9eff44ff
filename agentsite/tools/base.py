"""What a tool is, and what it is given when it runs.

Law: a tool file is glue. It parses, calls the machinery and shapes the result;
it reaches its session, its scope and its clients through the context alone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from agentsite.connections.caller import Caller
from agentsite.engine.deltas import Usage
from agentsite.engine.events import AnyEvent, ToolLogged, ToolProgressed, ToolRelabelled
from agentsite.engine.ports import ModelName, Purpose, ToolSpec
from agentsite.manifest.bundle import Bundle
from agentsite.tools.limits import Limits
from agentsite.tools.results import ToolError, ToolResult, clean

__all__ = ["ReadResult", "StoredSlice", "Tool", "ToolContext", "ToolError", "ToolResult", "clean"]

logger = logging.getLogger(__name__)

Confirm = Literal[False, True, "review", "never"]
LABEL_CHARS = 300
PLACEHOLDER = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
SHOWN_PROBLEMS = 3
CONFIRMED_AT_ONCE = 5
"""Items of one write that a person confirms together; more are asked about one by one."""


class StoredSlice(NamedTuple):
    """A piece of a stored result, and how many characters the whole has."""

    text: str
    total: int


class ReadResult(Protocol):
    """Reads the stored text of an earlier call of this session; None if there is none."""

    async def __call__(self, call_id: str, offset: int, limit: int) -> StoredSlice | None: ...


OpenCredential = Callable[[str], Awaitable[str | None]]


async def have_none(name: str) -> str | None:
    """Opens no credential: there are none."""
    return None


async def tell_nobody(path: str) -> None:
    """Nobody hears of changed files."""


Value = TypeVar("Value")
Make = Callable[[int | None], Awaitable[tuple[Value, Usage]]]
"""Calls a model, whose answer may have so many tokens; what came of it, and what it used."""


class Pay(Protocol):
    """Makes a call of a model that is no turn of the run, and sees to its cost.

    `text` is what is sent. Raises `ToolError` where a budget is used up, else as `make` does.
    """

    async def __call__(
        self, purpose: Purpose, model: ModelName, text: str, make: Make[Value]
    ) -> Value: ...


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
    """What is known of the caller; of automations the role alone."""
    deadline: float
    """Monotonic seconds; at this moment the call is cancelled."""
    bundle: Bundle
    send: Callable[[AnyEvent], None]
    """Takes an event to the run's log; never blocks."""
    read_result: ReadResult
    pay: Pay
    redact: Callable[[Any], Any] = lambda value: value
    """Takes known secrets out of a JSON value, before it is stored."""
    tell_file: Callable[[str], Awaitable[None]] = tell_nobody
    """Tells staff of a file of the agent that the call has written or deleted, by its path."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Values for context injection, those of the scope's row and of its token included."""
    open_credential: OpenCredential = have_none
    """`scope:NAME` of this agent and scope, or None; the value is then known to the redactor."""
    delegated: bool = False
    """A sub-agent calls: nobody reads along, and it has instructions of its own."""
    caller: Caller = field(default_factory=Caller)
    """For whom the call is made, as the rules of connections ask."""
    approved: bool = False
    """A person approved this very call."""
    left: list[Callable[[], Awaitable[ToolResult]]] = field(default_factory=list)
    """What goes on although the call was stopped: waits for its result, which is told then."""
    limits: Limits | None = None
    """What calls of this process share; set by the executor."""
    host: str | None = None
    """The host among whose calls this one has its place already; set by the executor."""
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person is asked before a call, beyond its name and its arguments."""

    reason: str = ""
    connection: str | None = None
    endpoint: str | None = None
    method: str | None = None
    params: Mapping[str, Any] | None = None
    escalated: bool = False


Ask = Callable[[Caller, dict[str, Any]], Wanted | None]
"""Says whether this call, with these arguments, needs a person; None when it does not."""


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
    reads: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether a call with these arguments only reads, for tools of which some do."""
    inside: bool = False
    """What it changes stays in rows of this server: allowed where nothing may be written."""
    exclusive: bool = False
    """Runs alone among the calls of its turn."""
    timeout_s: float | None = None
    """None takes the agent's `toolTimeout`."""
    running_label: str | None = None
    completed_label: str | None = None
    internal: bool = False
    """The chat page does not show its calls."""
    confirm: Confirm = False
    pool: str | None = "tools"
    """Which calls of this process it shares places with (see `limits.py`); None: with none."""
    rate: tuple[int, float] | None = None
    """At most so many calls begin in so many seconds, for each agent of a process."""
    host: Callable[[Mapping[str, Any]], str | None] | None = None
    """The host that a call with these arguments will talk to."""
    host_rate: Callable[[Mapping[str, Any]], tuple[int, float] | None] | None = None
    """At most so many calls to this host begin in so many seconds, whichever tool makes them."""
    shell_argument: str | None = None
    """The argument that is a shell program: permission rules read it word by word."""
    subject: str | None = None
    """The argument that a rule `tool(pattern)` is about; None: every argument must fit."""
    ask: Ask | None = None
    """For tools whose arguments decide whether a person is asked."""
    question: Literal["ask_user", "ask_choice"] | None = None
    """The call is itself a question to a person: its result is the answer, it never runs."""

    dispatch: bool = False
    """The call is a sub-agent: its result is the sub-agent's last word, it never runs itself."""
    checks_itself: bool = False
    """Whoever runs it checks the arguments: a stranger's schema is not evaluated here."""
    alias_of: str | None = None
    """It is another tool under a second name: taken, but not offered."""
    other_names: tuple[str, ...] = ()
    """What else the model may call it: a rule on one name is a rule on all."""

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

    def may_retry(self, arguments: Mapping[str, Any]) -> bool:
        """Whether running this call twice is like running it once."""
        return self.idempotent or (self.reads is not None and self.reads(arguments))

    def writes_outside(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call may change what is not this server's; so is what says nothing of it."""
        harmless = self.read_only or self.inside or self.dispatch or self.question is not None
        return not harmless and not (self.reads is not None and self.reads(arguments))

    def find_question(self, caller: Caller, arguments: dict[str, Any]) -> Wanted | None:
        """What a person must be asked before this call; None when the tool asks nothing."""
        if self.ask is None:
            return None
        try:
            return self.ask(caller, arguments)
        except Exception:
            logger.exception("Whether a call of %s needs a person could not be told", self.name)
            return Wanted("It could not be told whether this call needs an approval.")

    @cached_property
    def _validator(self) -> Draft202012Validator:
        # An empty registry: a schema from elsewhere cannot make this server fetch addresses.
        return Draft202012Validator(self.parameters, registry=Registry())

    def find_problem(self, arguments: dict[str, Any]) -> str | None:
        """Why these arguments do not fit the schema, in one sentence; None if they do."""
        if self.confirm in (True, "review") and (many := find_many(arguments)):
            return many
        if self.checks_itself:
            return None
        problems = sorted(
            self._validator.iter_errors(arguments), key=lambda p: list(map(str, p.path))
        )
        if not problems:
            return None
        told = "; ".join(map(_describe_problem, problems[:SHOWN_PROBLEMS]))
        more = len(problems) - SHOWN_PROBLEMS
        return f"Invalid parameters: {told}" + (f" (and {more} more)" if more > 0 else "")


def find_many(arguments: Any) -> str | None:
    """Why a write with these arguments is too much for one confirmation; None if it is not."""
    count = _count_items(arguments)
    if count <= CONFIRMED_AT_ONCE:
        return None
    return (
        f"This would change {count} items at once, and a person confirms {CONFIRMED_AT_ONCE} at"
        " the most in one go. Make one call for each item."
    )


def _count_items(value: Any, name: str = "") -> int:
    """Length of the longest list of objects, or of ids, anywhere in a value."""
    if isinstance(value, Mapping):
        return max((_count_items(inner, str(key)) for key, inner in value.items()), default=0)
    if not isinstance(value, list):
        return 0
    inside = max((_count_items(item) for item in value), default=0)
    of_items = any(isinstance(item, Mapping) for item in value) or name.lower().endswith(
        ("ids", "items", "keys")
    )
    return max(len(value), inside) if of_items else inside


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
