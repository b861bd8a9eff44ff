"""A loaded agent: everything its repository says, as one frozen value.

Law: `repr` shows no secret; `secrets` is what redaction looks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agentsite.manifest.agents import BUILT_IN, AgentSpec
from agentsite.manifest.automations import AutomationFile
from agentsite.manifest.connections import Connection
from agentsite.manifest.evals import Eval
from agentsite.manifest.knowledge import Document
from agentsite.manifest.mcp import McpServer
from agentsite.manifest.models import ModelConfig
from agentsite.manifest.problems import Problem
from agentsite.manifest.schema import AgentConfig
from agentsite.manifest.scripts import Script
from agentsite.manifest.skills import Skill
from agentsite.manifest.stores import StoreSpec
from agentsite.manifest.tools import ToolFolder

Tier = Literal["main", "simple", "advanced"]


@dataclass(frozen=True, eq=False)
class Bundle:
    """One version of an agent. Runs keep the bundle they started with; equal by identity."""

    root: Path
    config: AgentConfig
    """amodal.json, its models settled: main, simple and advanced are all there."""
    hash: str
    """Over the content of all files read."""
    identity: str | None
    """Text of agents/main.md."""
    skills: tuple[Skill, ...] = ()
    knowledge: tuple[Document, ...] = ()
    connections: tuple[Connection, ...] = ()
    stores: tuple[StoreSpec, ...] = ()
    automations: tuple[AutomationFile, ...] = ()
    tools: tuple[ToolFolder, ...] = ()
    agents: tuple[AgentSpec, ...] = ()
    evals: tuple[Eval, ...] = ()
    scripts: tuple[Script, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notice: str | None = None
    """What users are told once per run while no model is configured."""
    watched: tuple[Path, ...] = ()
    """Folders whose change means another version: the root and the packages."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Resolved values that must never reach a prompt, event, row, log or answer."""
    tool_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables that tools name in `env`, as far as they are set, and no others."""

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def version(self) -> str:
        return self.config.version

    @property
    def subagents(self) -> tuple[AgentSpec, ...]:
        """Whom it may dispatch: the built-in ones and its own, which override, by name."""
        found = {agent.name: agent for agent in (*BUILT_IN, *self.agents)}
        disabled = self.config.disabled_subagents
        return tuple(found[name] for name in sorted(found) if name not in disabled)

    def webhook_address(self, automation: str) -> str:
        """Where webhooks of an automation are sent: below `proactive.webhook`, else a path."""
        proactive = self.config.proactive
        base = "/webhooks" if proactive is None else proactive.webhook.rstrip("/")
        return f"{base}/{automation}"

    @property
    def mcp_servers(self) -> dict[str, McpServer]:
        """MCP servers by name: those of amodal.json, and connections that are some."""
        specs = {each.name: each.spec for each in self.connections}
        ours = {name: spec for name, spec in specs.items() if isinstance(spec, McpServer)}
        return {**self.config.mcp.servers, **ours}

    def model(self, tier: Tier = "main") -> ModelConfig:
        """Return the model of a tier; simple and advanced fall back to main."""
        chosen = getattr(self.config.models, tier)
        if not isinstance(chosen, ModelConfig):
            raise LookupError(f"the models of {self.name} are not settled")
        return chosen
