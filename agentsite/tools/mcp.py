"""Tools of MCP servers: `<server>__<tool>`, as an operator has accepted them.

Law: what a server says of its tools is told to models byte for byte, and believed as far as
effects go: what only reads is repeated, what destroys is asked about unless the server is trusted.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.mcp import McpServer
from agentsite.mcp_client.names import name_tool
from agentsite.operations.pins import ToolVersion
from agentsite.tools.base import Ask, Call, Tool, ToolContext, ToolResult, Wanted

Accepted = Mapping[str, tuple[ToolVersion, ...]]
"""By server, the tools that may be offered."""


def build_mcp_tools(bundle: Bundle, accepted: Accepted) -> list[Tool]:
    """The tools of all servers of an agent, as far as they were listed and accepted."""
    servers = bundle.mcp_servers
    found = [
        make_tool(name, servers[name], version)
        for name in sorted(servers)
        for version in accepted.get(name, ())
    ]
    return list({tool.name: tool for tool in found}.values())


def make_tool(server: str, spec: McpServer, version: ToolVersion) -> Tool:
    """One tool of a server."""
    says = version.annotations
    reads = says.get("readOnlyHint") is True
    title = says.get("title") if isinstance(says.get("title"), str) else None
    return Tool(
        name=name_tool(server, version.name),
        description=version.description,
        parameters=version.parameters,
        call=_make_call(server, version),
        read_only=reads,
        idempotent=reads or says.get("idempotentHint") is True,
        running_label=_label(title),
        ask=None if reads or spec.trust else _make_ask(server, version),
        pool=None,  # each connection has bounds of its own: a hung server takes nobody's place
        checks_itself=True,
    )


def _label(title: str | None) -> str | None:
    return title.replace("{", "(").replace("}", ")") if title else None


def _make_ask(server: str, version: ToolVersion) -> Ask | None:
    """A person is asked about what the server itself calls destructive."""
    if version.annotations.get("destructiveHint") is not True:
        return None
    reason = f'The MCP server {server} says that "{version.name}" may destroy something.'
    return lambda caller, arguments: Wanted(reason)


def _make_call(server: str, version: ToolVersion) -> Call:
    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        await import_sdk()
        from agentsite.tools.mcp_calls import call_server

        return await call_server(context, server, version, arguments)

    return call


async def import_sdk() -> None:
    """Import the SDK, which takes a second, beside the event loop and on first use."""
    await asyncio.to_thread(importlib.import_module, "agentsite.tools.mcp_calls")
