"""Who calls and for which partition, as checked values, and what that allows.

Law: `spec/scope-stores-memory.md`, "Who is calling". Nothing here looks anything up.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from agentsite.host.errors import Refusal
from agentsite.rows.secrets import Sealed
from sessions_app.scopes import ScopeFacts

if TYPE_CHECKING:
    from agentsite.host.agents import Agent

logger = logging.getLogger(__name__)

Role = Literal["user", "admin", "ops"]
RANKS: tuple[Role, ...] = ("user", "admin", "ops")
UNKNOWN = ScopeFacts()


class Identity(msgspec.Struct, frozen=True):
    """A checked caller, before it is known for which scope."""

    kind: Literal["anonymous", "key", "token", "staff"] = "anonymous"
    name: str = ""
    role: Role = "user"
    agents: tuple[str, ...] = ()
    """Agents it may use; empty: all."""
    scopes: tuple[str, ...] = ()
    """Scopes it may act for, an ending * for any rest; empty: all."""
    scope_id: str | None = None
    """The one scope that a token names."""
    context: dict[str, str] = {}
    tenant_id: str | None = None
    """The tenant that a token names: its scope, and those that begin with `tenant:`."""
    key_id: int | None = None
    """Of a key."""

    def has_role(self, role: Role) -> bool:
        """Whether its role is this one or a higher one."""
        return RANKS.index(self.role) >= RANKS.index(role)

    @property
    def is_bound(self) -> bool:
        """Whether it is held to some scopes, so that what is of all scopes is not for it."""
        return bool(self.scopes) or self.scope_id is not None or self.tenant_id is not None

    def may_act_for(self, scope_id: str) -> bool:
        """Whether it may act for a scope, by all that binds it."""
        if self.scope_id is not None:  # a token's claim stands before its tenant
            return scope_id == self.scope_id
        return self.in_tenant(scope_id) and self.in_scopes(scope_id)

    def in_tenant(self, scope_id: str) -> bool:
        """Whether a scope is one of the tenant that its token names, if it names one."""
        own = self.tenant_id
        return own is None or scope_id == own or scope_id.startswith(f"{own}:")

    def in_scopes(self, scope_id: str) -> bool:
        """Whether a scope is one of those that its key was made for, if it was for some."""
        return not self.scopes or any(
            scope_id.startswith(each[:-1]) if each.endswith("*") else scope_id == each
            for each in self.scopes
        )


class Caller(msgspec.Struct, frozen=True):
    """A request's caller, and the partition that it acts for."""

    scope_id: str
    identity: Identity = Identity()
    facts: Mapping[str, ScopeFacts] | None = None
    """What is known of the scope, by agent; None as long as it was not looked up."""

    @property
    def role(self) -> str:
        """`user`, `admin` or `ops`."""
        return self.identity.role

    def fact(self, agent_id: str) -> ScopeFacts:
        """What is known of the scope where this agent is concerned."""
        return (self.facts or {}).get(agent_id, UNKNOWN)

    def sealed(self, agent_id: str | None = None) -> tuple[Sealed, ...]:
        """What its scope has saved for this agent, else for all that it may use."""
        if agent_id is not None:
            return self.fact(agent_id).sealed
        facts = (self.facts or {}).items()
        return tuple(each for agent, fact in facts if self.may_use(agent) for each in fact.sealed)

    def may_use(self, agent_id: str) -> bool:
        """Whether the caller may talk to this agent at all."""
        return not self.identity.agents or agent_id in self.identity.agents

    def enter(self, agent: Agent) -> None:
        """Check the caller at the door of one agent. Raises `Refusal`."""
        if not self.may_use(agent.id):
            text = f'This key is not for the agent "{agent.id}". Use one that is.'
            raise Refusal(403, "agent_forbidden", text)
        if not self.scope_id and agent.bundle.config.scope.require_scope:
            raise scope_required()
        if self.fact(agent.id).blocked:
            raise scope_blocked()

    def context(self, agent_id: str, given: Mapping[str, str]) -> dict[str, str]:
        """Values for context injection: a token's before the request's before the scope's."""
        claimed = self.identity.context
        ignored = sorted(key for key in given if claimed.get(key, given[key]) != given[key])
        if ignored:
            logger.warning("the token's scopeContext wins over the request's: %s", ignored)
        return {**self.fact(agent_id).context, **given, **claimed}

    def describe(self, context: Mapping[str, str]) -> dict[str, object]:
        """What rules may ask of the caller: roles, name, tenant. `context` is the run's.

        A person with a token has the roles that the token claims, and no others; whoever calls
        with a key, or where nobody is checked at all, answers for the roles it names.
        """
        trusted = self.identity.context if self.identity.kind == "token" else context
        named = [trusted.get("role", ""), *trusted.get("roles", "").split(",")]
        roles = [self.identity.role, *(role.strip() for role in named if role.strip())]
        user: dict[str, object] = {"role": self.identity.role, "roles": roles}
        if self.identity.name:
            user["id"] = self.identity.name
        if self.identity.tenant_id:
            user["tenant_id"] = self.identity.tenant_id
        return user


def scope_required() -> Refusal:
    return Refusal(400, "scope_required", "This agent requires a scope_id.")


def scope_blocked() -> Refusal:
    text = "This scope is blocked. Ask the operators of this server."
    return Refusal(403, "scope_blocked", text)
