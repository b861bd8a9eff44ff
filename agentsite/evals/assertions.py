"""What can be said of an answer without a model, and how all assertions make one outcome.

Law: a pure function of the facts. `contains` and `starts_with` look past upper and lower case, as
does nobody who reads the answer; `regex` is taken as it is written and has bounded time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import regex

from agentsite.manifest.evals import Assertion

REGEX_SECONDS = 1.0
SHOWN_CHARS = 120
Mark = Literal["passed", "failed", "error"]


class Facts(msgspec.Struct, frozen=True):
    """What a run came to."""

    response: str
    tools: tuple[str, ...]
    """Names of the calls that the model asked for, its sub-agents' included, in order."""
    duration_ms: int
    turns: int


class Outcome(msgspec.Struct, frozen=True):
    """What came of one assertion; `passed` is None where it could not be judged."""

    text: str
    kind: str
    negated: bool
    passed: bool | None
    reason: str


def word(assertion: Assertion) -> str:
    """An assertion as people read it."""
    if assertion.kind == "rubric":
        return assertion.value
    return f"{'NOT ' if assertion.negated else ''}{assertion.kind}: {assertion.value}"


def make_outcome(assertion: Assertion, passed: bool | None, reason: str) -> Outcome:
    """The outcome of an assertion."""
    return Outcome(word(assertion), assertion.kind, assertion.negated, passed, reason)


def check(assertion: Assertion, facts: Facts) -> Outcome:
    """Decide on one that needs no model. Blocks for `REGEX_SECONDS` at most: not on a loop."""
    try:
        holds, reason = _look(assertion, facts)
    except TimeoutError:
        reason = f"the expression was not done with the answer within {REGEX_SECONDS:g} s"
        return make_outcome(assertion, None, reason)
    return make_outcome(assertion, holds != assertion.negated, reason)


def _look(assertion: Assertion, facts: Facts) -> tuple[bool, str]:
    """Whether it holds before it is turned round, and what was found."""
    value, text = assertion.value, facts.response.strip()
    match assertion.kind:
        case "contains":
            holds = value.casefold() in text.casefold()
            return holds, f'the answer {"has" if holds else "has not"} "{value}"'
        case "starts_with":
            return text.casefold().startswith(value.casefold()), f'it begins "{_cut(text)}"'
        case "regex":
            found = regex.search(value, text, timeout=REGEX_SECONDS, concurrent=True)
            return found is not None, f'it found "{_cut(found[0])}"' if found else "nothing fits"
        case "length_between":
            low, high = map(int, value.split(","))
            return low <= len(text) <= high, f"the answer has {len(text)} characters"
        case "tool_called" | "tool_not_called":
            called = value in facts.tools
            told = ", ".join(dict.fromkeys(facts.tools)) or "none"
            return called == (assertion.kind == "tool_called"), f"tools called: {told}"
        case "max_latency":
            return facts.duration_ms <= int(value), f"it took {facts.duration_ms} ms"
        case "max_turns":
            return facts.turns <= int(value), f"it took {facts.turns} turns"
        case kind:
            raise ValueError(f"{kind} needs a model")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def sum_up(outcomes: Sequence[Outcome]) -> Mark:
    """One that failed fails all; else one that could not be judged leaves all unjudged."""
    if any(each.passed is False for each in outcomes):
        return "failed"
    return "error" if any(each.passed is None for each in outcomes) else "passed"


def to_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """As results keep them."""
    return [msgspec.to_builtins(each) for each in outcomes]
