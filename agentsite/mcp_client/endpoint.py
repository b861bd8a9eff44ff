"""Where an MCP server is and what is sent along, with its credentials put in.

Law: `env:` was resolved when the agent was loaded; `scope:KEY` is asked for here, each time.
Two endpoints are equal if a connection to one serves for the other.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from pydantic import SecretStr

from agentsite.manifest.mcp import McpServer
from agentsite.mcp_client.errors import Unavailable

SCOPE = "scope:"
UNSENDABLE = re.compile(r"[\x00-\x1f\x7f]")
Reveal = Callable[[str], Awaitable[str | None]]
"""The value of a key among the credentials of a scope; None when it has none."""


class Key(NamedTuple):
    """Whose connection it is."""

    agent: str
    server: str
    scope_id: str


class Endpoint(msgspec.Struct, frozen=True):
    """All that a connection depends on."""

    name: str
    transport: Literal["stdio", "sse", "http"]
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    """Where a process of ours begins: the agent's folder."""
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    own: bool = False
    """Some of its credentials are the scope's: what it lists is for this scope alone."""

    def __repr__(self) -> str:
        return f"<{self.transport} {self.name}>"

    def hide(self, text: str) -> str:
        """The text without the secrets of this endpoint."""
        for _, value in (*self.env, *self.headers):
            if len(value) >= 6:
                text = text.replace(value, "[redacted]")
        return text


def needs_scope(server: McpServer) -> bool:
    """Whether each scope has credentials of its own for it."""
    values = (*server.env.values(), *server.headers.values())
    return any(value.get_secret_value().startswith(SCOPE) for value in values)


async def settle(name: str, server: McpServer, folder: Path, reveal: Reveal) -> Endpoint:
    """The endpoint of a server. Raises `Unavailable` when the scope lacks a credential."""

    async def read(values: Mapping[str, SecretStr]) -> tuple[tuple[str, str], ...]:
        found = [(key, await _reveal(name, values[key], reveal)) for key in sorted(values)]
        return tuple(found)

    headers = await read(server.headers)
    if any(UNSENDABLE.search(value) for _, value in headers):
        raise Unavailable(f"A credential of the MCP server {name} holds control characters.")
    env = await read(server.env)
    if any("\x00" in value for _, value in env):
        raise Unavailable(f"A credential of the MCP server {name} holds a NUL.")
    return Endpoint(
        name=name,
        transport=server.transport,
        command=server.command or "",
        args=server.args,
        env=env,
        folder=str(folder) if server.transport == "stdio" else "",
        url=server.url or "",
        headers=headers,
        own=needs_scope(server),
    )


async def _reveal(name: str, value: SecretStr, reveal: Reveal) -> str:
    text = value.get_secret_value()
    if not text.startswith(SCOPE):
        return text
    key = text.removeprefix(SCOPE).strip()
    found = await reveal(key)
    if not found:
        raise Unavailable(
            f'The scope of this conversation has no credential "{key}", which the MCP server'
            f" {name} needs. An operator or the customer enters it."
        )
    return found
