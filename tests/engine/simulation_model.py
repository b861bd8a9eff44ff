"""What the simulation's models and tools do: random, and in the vendors' own manners."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

from agentsite.engine.deltas import (
    Delta,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolCallArgs,
    ToolCallStarted,
)
from agentsite.engine.events import ToolEnded
from agentsite.engine.messages import TextPart, ToolCallPart, ToolResultPart
from agentsite.engine.ports import ErrorKind
from agentsite.engine.steps import PlannedCall
from agentsite.manifest.models import ModelConfig

CONFIGS = {
    "anthropic": ModelConfig(provider="anthropic", model="claude-sonnet-4", thinking=2000),
    "chat": ModelConfig(provider="openai", model="gpt-4o", api="chat"),
    "responses": ModelConfig(provider="openai", model="gpt-5", api="responses", thinking=2000),
    "google": ModelConfig(provider="google", model="gemini-3-pro", thinking=2000),
}
FAILURES: tuple[ErrorKind, ...] = (
    "rate_limited", "server", "timeout", "auth", "bad_request", "context_overflow",
    "context_overflow", "context_overflow",
)  # fmt: skip
Manner = Literal["quiet", "busy", "repeating"]


@dataclass(frozen=True)
class SimTool:
    """How a tool behaves."""

    name: str
    repeatable: bool = False
    """Read-only or idempotent: made again after a crash."""
    gate: Literal["run", "ask"] = "run"
    question: bool = False
    """A person's answer is its result."""
    dispatch: bool = False
    asks_late: bool = False
    """Finds out while it runs that a person must agree."""
    stops: bool = False


TOOLS = {
    tool.name: tool
    for tool in (
        SimTool("look", repeatable=True),
        SimTool("write"),
        SimTool("refund", gate="ask"),
        SimTool("question", gate="ask", question=True),
        SimTool("child", repeatable=True, dispatch=True),
        SimTool("pay", asks_late=True),
        SimTool("wonder", repeatable=True, question=True, asks_late=True),
        SimTool("stop", stops=True),
    )
}
_COMMON = (
    "look",
    "look",
    "look",
    "write",
    "write",
    "refund",
    "question",
    "child",
    "pay",
    "wonder",
    "stop",
)
_ARGUMENTS = ("", "{}", '{"q": 1}', '{"q": 2}', '{"q": 3}', '{"q":')
_TEXTS = ("Hello ", "there", " ", "x\n", "so.")


@dataclass
class Script:
    """One answer: batches of deltas, then its end."""

    provider: str
    batches: list[tuple[Delta, ...]] = field(default_factory=list)
    failure: ErrorKind | None = None
    switched: bool = False
    """A fallback answers."""


def write_script(rng: Random, manner: Manner, unique: int) -> Script:
    """An answer of some vendor; `unique` makes its ids its own."""
    vendor = rng.choice(("anthropic", "chat", "responses", "google"))
    provider = CONFIGS[vendor].provider
    script = Script(provider, switched=rng.random() < 0.1)
    if rng.random() < 0.4:
        script.batches += _think(vendor, unique)
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        script.batches.append((TextDelta(rng.choice(_TEXTS)),))
    if manner == "repeating":
        names, raw = ["look"] * (rng.random() < 0.95), ['{"q": 1}']
    else:
        count = rng.choice((0, 0, 1, 1, 2, 3, 4) if manner == "busy" else (0, 0, 0, 1, 2))
        names, raw = [rng.choice(_COMMON) for _ in range(count)], list(_ARGUMENTS)
    for index, name in enumerate(names):
        script.batches.append(_call(vendor, name, rng.choice(raw), unique, index))
    script.batches.append((Stopped("tool_calls" if names else "end"),))
    if rng.random() < 0.08:
        script.failure = rng.choice(FAILURES)
        del script.batches[rng.randrange(len(script.batches)) :]
    return script


def _think(vendor: str, unique: int) -> list[tuple[Delta, ...]]:
    match vendor:
        case "anthropic":
            return [(ThinkingDelta("hm"),), (ThinkingDelta("", {"signature": "s"}),)]
        case "responses":
            sealed = {"id": f"rs_{unique}", "encrypted_content": "x", "origin": "openai"}
            return [(ThinkingDelta("hm"), ThinkingDelta("", sealed))]
        case _:
            return [(ThinkingDelta("hm"),)]


def _call(vendor: str, name: str, raw: str, unique: int, index: int) -> tuple[Delta, ...]:
    own = {"id": f"{vendor}_{unique}_{index}"}
    if vendor in ("chat", "responses"):
        own["origin"] = "openai"
    elif vendor == "google":
        own = {} if unique % 2 else own
        if index == 0:
            own["thought_signature"] = "c2ln"
    return (ToolCallStarted(str(index), name, own), ToolCallArgs(str(index), raw))


def plan_call(call: ToolCallPart) -> PlannedCall:
    """A call as the machine is told of it."""
    tool = TOOLS[call.name]
    gate = "run" if call.invalid else tool.gate
    return PlannedCall(call.id, call.name, call.arguments, gate, tool.dispatch)


def ended_call(part: ToolResultPart) -> ToolEnded:
    """The event of a result."""
    text = "".join(item.text for item in part.content if isinstance(item, TextPart))
    return ToolEnded(part.call_id, part.name, part.status == "ok", text, 0, status=part.status)
