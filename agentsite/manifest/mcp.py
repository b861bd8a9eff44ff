"""How an MCP server is reached, in amodal.json and in connection specs alike."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from agentsite.manifest.base import CamelModel, Flag, Text, Url

SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""Before `__` in the names of tools, which vendors limit to 64 of these characters."""
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OWN_HEADERS = frozenset(
    (
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "host"),
        *("last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"),
        *("te", "transfer-encoding", "upgrade"),
    )
)
"""Set by the protocol, or by HTTP."""


class McpServer(CamelModel):
    """A server of tools: a process of ours (`stdio`) or an address (`sse`, `http`)."""

    transport: Literal["stdio", "sse", "http"]
    command: Text | None = None
    args: tuple[str, ...] = ()
    env: dict[str, SecretStr] = Field(default_factory=dict)
    url: Url | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    trust: Flag = False
    """Its tools run without a person, those too that it calls destructive."""

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
        for name in self.headers:
            if not HEADER_NAME.fullmatch(name) or name.lower() in OWN_HEADERS:
                raise ValueError(f'headers cannot hold "{name}"')
        return self
