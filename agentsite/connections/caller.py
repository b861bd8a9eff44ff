"""For whom a call is made, as far as the rules of connections ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

READ_ONLY = "Write operations are not allowed in read-only mode"
PLANNING = "Write operations are blocked in plan mode. Present your plan for approval first."


@dataclass(frozen=True, slots=True)
class Caller:
    """Made by the host; nothing in it comes from a model."""

    user: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the person: `role`, `roles`, ids; of automations the role alone."""
    context: Mapping[str, str] = field(default_factory=dict)
    """The scope's values for context injection and row scoping."""
    delegated: bool = False
    """A sub-agent or an automation calls, not the agent a person talks to."""
    read_only: bool = False
    """Nothing may be written."""
    planning: bool = False
    """Plan mode: nothing may be written before the plan is approved."""

    @property
    def frozen(self) -> str:
        """Why nothing may be written, as the model is told; empty where it may."""
        return READ_ONLY if self.read_only else PLANNING if self.planning else ""

    @property
    def roles(self) -> frozenset[str]:
        """The caller's roles, by whichever of two keys they are told."""
        named = self.user.get("roles") or ()
        several = named if isinstance(named, list | tuple) else (named,)
        return frozenset(role for role in (self.user.get("role"), *several) if _is_name(role))

    def value(self, name: str) -> Any:
        """A value of the context, else of the user; None when there is none."""
        return self.context[name] if name in self.context else self.user.get(name)

    def delegate(self, *, read_only: bool = False) -> Caller:
        """The same caller at one remove, for a sub-agent."""
        return replace(self, delegated=True, read_only=self.read_only or read_only)


def _is_name(role: Any) -> bool:
    return isinstance(role, str) and bool(role)
