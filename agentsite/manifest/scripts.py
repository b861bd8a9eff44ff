"""Scripts of the `scripted` provider: what it answers to which request.

Matching is stateless: it looks at the request alone, so a resumed run gets the
same answer. The first reply whose `when` fits wins; the fallback comes last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator, model_validator

from agentsite.manifest.base import Count, Positive, SnakeModel, Some, Text

ScriptedErrorKind = Literal[
    "rate_limited", "server", "timeout", "auth", "bad_request", "context_overflow"
]


class When(SnakeModel):
    """Conditions on a request; all that are given must hold."""

    user: str | None = None
    """A regular expression searched, ignoring case, in the text of the last user message."""
    turn: Count | None = None
    """Number of model answers since that user message: 0 is the first call of a run."""
    after_tool: str | None = None
    """Name of the tool whose result is the last one in the request."""

    @field_validator("user")
    @classmethod
    def compile_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"is not a regular expression: {error}") from None
        return pattern

    def fits(self, user: str, turn: int, after_tool: str | None) -> bool:
        """Tell whether a request with these facts is meant."""
        if self.turn is not None and self.turn != turn:
            return False
        if self.after_tool is not None and self.after_tool != after_tool:
            return False
        return self.user is None or re.search(self.user, user, re.IGNORECASE) is not None


class ScriptedCall(SnakeModel):
    """A tool call; `arguments` is an object, or a string to send broken JSON on purpose."""

    name: Text
    arguments: dict[str, Any] | str = Field(default_factory=dict)


class ScriptedUsage(SnakeModel):
    """Tokens to report, in the disjoint classes of the engine."""

    input: Count = 0
    cache_read: Count = 0
    cache_write: Count = 0
    output: Count = 0
    reasoning: Count = 0


class ScriptedError(SnakeModel):
    """A failure of the pretended vendor, at once or after some characters of the text."""

    kind: ScriptedErrorKind
    message: Text
    after_chars: Count | None = None
    """None fails before the first delta; n fails after n characters of `text` were sent."""


class Reply(SnakeModel):
    """One answer: thinking, then text, then tool calls, in pieces of `chunk` characters."""

    when: When | None = None
    thinking: str = ""
    text: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    usage: ScriptedUsage | None = None
    """None lets the provider estimate it from the lengths."""
    delay_ms: Annotated[int, Strict(), Field(ge=0, le=60_000)] = 0
    """Pause between two pieces, in milliseconds."""
    chunk: Positive | None = None
    """Characters per delta; None leaves the size to the provider."""
    error: ScriptedError | None = None

    @property
    def is_fallback(self) -> bool:
        """A reply without any condition answers everything."""
        return self.when is None or self.when == When()

    @model_validator(mode="after")
    def check_substance(self) -> Reply:
        if not (self.text or self.tool_calls or self.error or self.thinking):
            raise ValueError("says nothing: give it text, tool_calls or error")
        if self.is_fallback and self.tool_calls:
            raise ValueError("is the fallback and calls tools, so a run would never end")
        return self


class Script(SnakeModel):
    """The replies of one file `scripts/<name>.json`."""

    name: Text
    replies: Annotated[tuple[Reply, ...], Some]

    @model_validator(mode="after")
    def check_fallback(self) -> Script:
        last = len(self.replies) - 1
        for index, reply in enumerate(self.replies):
            if reply.is_fallback and index < last:
                raise ValueError(f"replies[{index}] has no `when`, so the ones after it never play")
        if not self.replies[last].is_fallback:
            raise ValueError("the last reply must have no `when`: it answers everything else")
        return self

    def choose(self, user: str, turn: int, after_tool: str | None) -> Reply:
        """Return the reply to a request; there always is one.

        `user` is the text of the last user message, `turn` the number of model answers
        since it, `after_tool` the name of the last tool result behind it, or None.
        """
        for reply in self.replies:
            if reply.when is None or reply.when.fits(user, turn, after_tool):
                return reply
        raise AssertionError("a validated script ends with a fallback")


def join_scripts(scripts: Iterable[Script], model: str) -> Script | None:
    """Return what a scripted model plays: the script of its name, else all of them in turn.

    Joined, the conditional replies of every script come first, in the order given, then
    the fallback of the first. None when there are no scripts.
    """
    known = tuple(scripts)
    for script in known:
        if script.name == model:
            return script
    if not known:
        return None
    conditional = tuple(r for script in known for r in script.replies if not r.is_fallback)
    return Script(name=model or "all", replies=(*conditional, known[0].replies[-1]))
