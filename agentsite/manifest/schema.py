"""amodal.json as one value. The blocks live in `models` and `blocks`; import them from here."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from agentsite.manifest.base import CamelModel, Text
from agentsite.manifest.blocks import (
    AgentBlock,
    Budgets,
    FileTools,
    Mcp,
    Memory,
    PackageRef,
    Permissions,
    PriceOverride,
    Proactive,
    Sandbox,
    ScopeBlock,
    StoresBlock,
    WebTools,
)
from agentsite.manifest.mcp import McpServer
from agentsite.manifest.models import Api, Credentials, ModelConfig, Models, ProviderName

__all__ = [
    "AgentBlock",
    "AgentConfig",
    "Api",
    "Budgets",
    "Credentials",
    "FileTools",
    "Mcp",
    "McpServer",
    "Memory",
    "ModelConfig",
    "Models",
    "PackageRef",
    "Permissions",
    "PriceOverride",
    "Proactive",
    "ProviderName",
    "Sandbox",
    "ScopeBlock",
    "StoresBlock",
    "WebTools",
]

SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)


class AgentConfig(CamelModel):
    """The manifest of an agent."""

    name: Text
    version: str
    description: str = ""
    base_prompt: Text | None = None
    """Replaces the compiled prompt entirely; memory is still appended."""
    models: Models = Models()
    agent: AgentBlock = AgentBlock()
    prices: dict[str, PriceOverride] = Field(default_factory=dict)
    """By `provider/model`."""
    budgets: Budgets | None = None
    stores: StoresBlock = StoresBlock()
    packages: tuple[PackageRef, ...] = ()
    disabled_subagents: tuple[Text, ...] = ()
    sandbox: Sandbox = Sandbox()
    proactive: Proactive | None = None
    mcp: Mcp = Mcp()
    web_tools: WebTools | None = None
    memory: Memory | None = None
    file_tools: FileTools | None = None
    scope: ScopeBlock = ScopeBlock()

    @field_validator("web_tools", "file_tools", mode="before")
    @classmethod
    def accept_switch(cls, value: Any) -> Any:
        if value is True:
            return {}
        return None if value is False else value

    @field_validator("version")
    @classmethod
    def check_version(cls, version: str) -> str:
        if not SEMVER.fullmatch(version):
            raise ValueError("must be a semantic version such as 1.4.0")
        return version

    @field_validator("prices")
    @classmethod
    def check_price_names(cls, prices: dict[str, PriceOverride]) -> dict[str, PriceOverride]:
        for name in prices:
            provider, slash, model = name.partition("/")
            if not (provider and slash and model):
                raise ValueError(f'"{name}" should read provider/model, as in openai/gpt-4o')
        return prices
