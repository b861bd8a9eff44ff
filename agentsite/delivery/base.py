"""What is sent to a target, and how it went: values.

Law: a sender raises nothing that a target can cause; it tells an `Outcome`. The delivery's id is
the same on every attempt, so that whoever receives can tell a repeated one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentsite.manifest.stores import StoreSpec

SECONDS = 10.0
"""For one attempt."""


class Outgoing(msgspec.Struct, frozen=True):
    """One attempt to deliver one result or alert."""

    id: str
    """`msg_…`"""
    attempt: int
    agent: str
    automation: str
    scope_id: str
    session_id: str
    run_id: str
    target: dict[str, Any]
    """With its secrets."""
    payload: dict[str, Any]
    stores: tuple[StoreSpec, ...] = ()
    """The agent's, for a target that is one of them."""


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt went: delivered where there is no problem."""

    problem: str = ""
    status: int | None = None
    """Of the HTTP answer or the mail server's."""
    transient: bool = False
    """Another attempt may succeed."""
    retry_after: float = 0.0
    """Seconds that the target asks to be left alone."""


def dead(problem: str, status: int | None = None) -> Outcome:
    """No further attempt would help."""
    return Outcome(problem, status)


def again(problem: str, status: int | None = None, retry_after: float = 0.0) -> Outcome:
    """A later attempt may help."""
    return Outcome(problem, status, transient=True, retry_after=retry_after)
