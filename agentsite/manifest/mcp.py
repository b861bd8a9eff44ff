"""How an MCP server is reached, in amodal.json and in connection specs alike."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from agentsite.manifest.base import CamelModel, Flag, Text, Url


class McpServer(CamelModel):
    """A server of tools: a process of ours (`stdio`) or an address (`sse`, `http`)."""

    transport: Literal["stdio", "sse", "http"]
    command: Text | None = None
    args: tuple[str, ...] = ()
    env: dict[str, SecretStr] = Field(default_factory=dict)
    url: Url | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    trust: Flag = False

    @model_validator(mode="after")
    def check_transport(self) -> McpServer:
        if self.transport == "stdio":
            if not self.command:
                raise ValueError("transport stdio needs a command")
            if self.url or self.headers:
                raise ValueError("url and headers have no effect with transport stdio")
            return self
        if not self.url:
            raise ValueError(f"transport {self.transport} needs a url")
        if self.command or self.args or self.env:
            raise ValueError(
                f"command, args and env have no effect with transport {self.transport}"
            )
        return self
