"""A served agent: one version of its manifest with what the host derives from it.

Law: a run keeps the version it started with. Derived values (prompt, tools, models)
are made once per version.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from agentsite.engine.deltas import Usage
from agentsite.engine.ports import Model, ToolSpec
from agentsite.engine.redaction import Redactor
from agentsite.host.prompt import compile_prompt
from agentsite.host.redaction import LOGS, server_secrets
from agentsite.manifest.bundle import Bundle, Tier
from agentsite.manifest.models import ModelConfig
from agentsite.manifest.reload import Agents
from agentsite.manifest.schema import AgentBlock
from agentsite.providers.catalog import Priced, context_window, price
from agentsite.providers.registry import build_chain
from agentsite.tools.base import Tool
from agentsite.tools.mcp import Accepted, build_mcp_tools
from agentsite.tools.permissions import Guard
from agentsite.tools.toolset import build_toolset, specs

KEPT_VERSIONS = 8
KEPT_OFFERS = 8
KEPT_REDACTORS = 32
NONE: Accepted = {}
TIERS: tuple[Tier, ...] = ("main", "simple", "advanced")


class Offer(NamedTuple):
    """The tools of a run, and what the model is told of them."""

    tools: dict[str, Tool]
    specs: tuple[ToolSpec, ...]


class Agent:
    """One version of one agent."""

    def __init__(self, agent_id: str, bundle: Bundle) -> None:
        self.id = agent_id
        self.bundle = bundle
        self._scripts = {script.name: script for script in bundle.scripts}
        self._offers: OrderedDict[Any, Offer] = OrderedDict()
        self._redactors: OrderedDict[tuple[str, ...], Redactor] = OrderedDict()
        self._chains: dict[tuple[Tier, int | None], tuple[Model, ...]] = {}

    @property
    def block(self) -> AgentBlock:
        """The `agent` block: limits and times."""
        return self.bundle.config.agent

    @cached_property
    def redactor(self) -> Redactor:
        """Takes this agent's secrets out of whatever leaves or is stored."""
        return Redactor(self.bundle.secrets | server_secrets())

    def redactor_with(self, secrets: tuple[str, ...]) -> Redactor:
        """The same where a scope has secrets of its own."""
        if not secrets:
            return self.redactor
        found = self._redactors.get(secrets)
        if found is None:
            known = self.bundle.secrets | server_secrets() | frozenset(secrets)
            found = self._redactors[secrets] = Redactor(known)
            while len(self._redactors) > KEPT_REDACTORS:
                self._redactors.popitem(last=False)
        return found

    @cached_property
    def guard(self) -> Guard:
        """The rules that calls of tools are held against."""
        return Guard(self.block.permissions)

    @cached_property
    def prompt(self) -> str:
        return self.redactor.text(compile_prompt(self.bundle))

    def offer(self, *, admin: bool = False, accepted: Accepted = NONE) -> Offer:
        """What a run is offered; runs of admin sessions may be offered more.

        `accepted`: the tools of MCP servers that may be used at the moment.
        """
        listed = tuple(
            (server, *((tool.name, tool.digest) for tool in accepted[server]))
            for server in sorted(accepted)
        )
        found = self._offers.get((admin, listed))
        if found is None:
            tools = build_toolset(self.bundle, admin=admin)
            strangers = {tool.name: tool for tool in build_mcp_tools(self.bundle, accepted)}
            tools = {**strangers, **tools}
            found = self._offers[admin, listed] = Offer(tools, specs(tools))
            while len(self._offers) > KEPT_OFFERS:
                self._offers.popitem(last=False)
        return found

    def tools(self, *, admin: bool = False) -> dict[str, Tool]:
        """Those of them, by name, that need no MCP server."""
        return self.offer(admin=admin).tools

    def specs(self, *, admin: bool = False) -> tuple[ToolSpec, ...]:
        """What the model is told of them."""
        return self.offer(admin=admin).specs

    @cached_property
    def configs(self) -> tuple[ModelConfig, ...]:
        """All models of the manifest, fallbacks included; a caller may pin one of them."""
        return tuple(config for tier in TIERS for config in self.bundle.model(tier).chain)

    def find_model(self, provider: str, model: str) -> int | None:
        """Place of a model among `configs`; None when the manifest does not name it."""
        for place, config in enumerate(self.configs):
            if config.provider == provider and config.model == model:
                return place
        return None

    def config(self, tier: Tier = "main", pinned: int | None = None) -> ModelConfig:
        return self.bundle.model(tier) if pinned is None else self.configs[pinned]

    def models(self, tier: Tier = "main", pinned: int | None = None) -> tuple[Model, ...]:
        """The chain to ask, first choice first; a pinned model has no fallback."""
        key = (tier, pinned)
        if key not in self._chains:
            chain = build_chain(self.config(tier, pinned), self._scripts)
            self._chains[key] = chain if pinned is None else chain[:1]
        return self._chains[key]

    def window(self, tier: Tier = "main", pinned: int | None = None) -> int:
        """Tokens that the first choice can take in."""
        config = self.config(tier, pinned)
        return context_window(config.provider, config.model, config)

    @cached_property
    def _prices(self) -> dict[str, dict[str, Any]]:
        own = self.bundle.config.prices
        return {name: entry.model_dump(by_alias=True) for name, entry in own.items()}

    def price(
        self,
        provider: str,
        model: str,
        usage: Usage,
        at: dt.datetime,
        own: Mapping[str, Any] | None = None,
    ) -> Priced:
        """What a call made at `at` cost; `own` is the operators' price, if there is one."""
        place = self.find_model(provider, model)
        base_url = None if place is None else self.configs[place].base_url
        vectors = self.bundle.config.models.embedding
        if place is None and vectors is not None and vectors.label == f"{provider}/{model}":
            base_url = vectors.base_url
        prices: Mapping[str, Mapping[str, Any]] = self._prices
        if own is not None:
            prices = {f"{provider}/{model}": own}
        return price(provider, model, usage, prices, at, base_url)


class ServedAgents:
    """All agents of this server, newest version each, with a few older ones kept warm."""

    def __init__(self, agents: Agents) -> None:
        self.sources = agents
        self._versions: OrderedDict[tuple[str, str], Agent] = OrderedDict()
        self._latest: dict[str, Agent] = {}

    @property
    def several(self) -> bool:
        """Whether there is a choice of agents at all."""
        return len(self.sources.sources) > 1

    def current(self, agent_id: str | None = None) -> Agent:
        """The version that new runs start with. May read files: not on the event loop.

        Raises `UnknownAgent`, or `ManifestError` if there never was a good version.
        """
        name = agent_id or self.sources.default
        bundle = self.sources.get(name)
        key = (name, bundle.hash)
        agent = self._versions.get(key)
        if agent is None:
            LOGS.learn(bundle.secrets)
            agent = self._versions[key] = Agent(name, bundle)
            while len(self._versions) > KEPT_VERSIONS * len(self.sources.sources):
                self._versions.popitem(last=False)
        self._latest[name] = agent
        return agent

    def latest(self) -> Mapping[str, Agent]:
        """Every agent as it was last looked at; reads no files, so it may be a moment old."""
        return self._latest
