"""What the fake model shall do for one call, as a request asks for it.

The newest user text may hold `@@fake {...}@@`, or `@@fake [{...}, {...}]@@` with one plan
per model call since that text; calls beyond the list get the default answer. The place in
the list is counted from the request's own history, so the fake keeps no state.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from agentsite.engine.deltas import StopReason, Usage

_MARKER = re.compile(r"@@fake\s*(.*?)@@", re.DOTALL)
_FILLER = (
    "The quick brown fox jumps over the lazy dog while seven wizards box with quiet pride. "
    "Every reader of this line may rest assured that nobody thought about it for long. "
)
DEFAULT_DELTAS = 5


class BadPlan(ValueError):
    """A directive that cannot be read; the fake answers it as a bad request."""


class PlannedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call; `arguments` is any JSON, or a string that is sent as it stands."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def text(self) -> str:
        """The argument text that goes over the wire."""
        raw = bytes(self.arguments)
        return str(msgspec.json.decode(raw)) if raw.startswith(b'"') else raw.decode()


class PlannedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refusal in the vendor's own form; `type` overrides what the status implies."""

    status: int = 500
    type: str | None = None
    message: str = "The fake model was asked to fail."
    retry_after: float | None = None
    """Seconds, sent as `Retry-After` or as Google's `RetryInfo`."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer. Counts are deltas, `rate` is deltas per second (0: as fast as it goes)."""

    deltas: int | None = None
    """Pieces of filler text; None means 5, or none when `text` or `tools` are given."""
    chars: int = 20
    """Characters per delta, of `text` and `thinking` too."""
    rate: float = 0.0
    text: str | None = None
    thinking: str | None = None
    tools: tuple[PlannedCall, ...] = ()
    usage: Usage | None = None
    """Disjoint classes; None estimates them at four characters per token."""
    stop: StopReason | None = None
    error: PlannedError | None = None
    error_event_after: int | None = None
    """Send the error as an event inside the 200, after so many deltas."""
    cut_after: int | None = None
    cut: Literal["abort", "clean"] = "abort"
    """`abort` drops the connection, `clean` ends the response without its last events."""
    silence_after: int | None = None
    """Say nothing more after so many deltas, and keep the connection open."""
    slow_first_ms: float = 0.0
    invalid_args: str | None = None
    """Argument text for every call in place of its own."""
    model: str | None = None
    """Only requests for this model follow the plan; others get the default answer."""

    def pieces(self) -> list[str]:
        """The answer text, cut into deltas."""
        if self.text is not None:
            return cut_pieces(self.text, self.chars)
        count = self.deltas
        if count is None:
            count = 0 if self.tools else DEFAULT_DELTAS
        return fill_pieces(count, self.chars)

    def calls(self) -> list[tuple[str, str]]:
        """Name and argument text of each tool call."""
        return [
            (call.name, call.text if self.invalid_args is None else self.invalid_args)
            for call in self.tools
        ]

    def stop_reason(self) -> StopReason:
        return self.stop or ("tool_calls" if self.tools else "end")


DEFAULT = Plan()


def cut_pieces(text: str, chars: int) -> list[str]:
    size = max(1, chars)
    return [text[at : at + size] for at in range(0, len(text), size)]


def fill_pieces(count: int, chars: int) -> list[str]:
    """Return `count` pieces of filler of `chars` characters, each reading on from the last."""
    size = max(1, chars)
    endless = _FILLER * (size // len(_FILLER) + 2)
    return [endless[at : at + size] for at in ((i * size) % len(_FILLER) for i in range(count))]


def find_plan(text: str, call: int, model: str) -> Plan:
    """Return the plan for the `call`-th model call (from 0) since the user said `text`."""
    found = _MARKER.findall(text)
    if not found:
        return DEFAULT
    try:
        plans = msgspec.json.decode(found[-1].strip().encode(), type=list[Plan] | Plan)
    except msgspec.DecodeError as error:
        raise BadPlan(f"the @@fake directive cannot be read: {error}") from None
    if isinstance(plans, Plan):
        plans = [plans]
    if call >= len(plans):
        return DEFAULT
    plan = plans[call]
    return plan if plan.model in (None, model) else DEFAULT


def plan_usage(plan: Plan, request_bytes: int) -> Usage:
    """Return the usage to report: the plan's, or an estimate of four characters per token."""
    if plan.usage is not None:
        return plan.usage
    answer = sum(map(len, plan.pieces())) + sum(len(a) + len(n) for n, a in plan.calls())
    return Usage(
        input=max(1, request_bytes // 4),
        output=max(1, answer // 4),
        reasoning=len(plan.thinking or "") // 4,
    )
