"""The real MCP client, in both of the protocol's modes, against a served agent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

MODES = ("legacy", "2026-07-28")
"""How a client speaks: after a handshake (2025-11-25), or with every request for itself."""
PATIENCE = 20.0


@asynccontextmanager
async def speak(
    url: str, mode: str, headers: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Client]:
    """A client that talks to the MCP server at this address."""
    async with httpx2.AsyncClient(headers=headers or {}, timeout=PATIENCE) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(
            transport, mode=mode, read_timeout_seconds=PATIENCE, cache=None, **more
        ) as client:
            yield client


def said(result: types.CallToolResult) -> Any:
    """The document of a call that went well."""
    assert not result.is_error, result.content
    return result.structured_content


def refused(result: types.CallToolResult) -> tuple[str, str]:
    """Code and sentence of a call that was refused."""
    assert result.is_error, result.content
    error = result.structured_content["error"]
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text == error["message"]
    return error["code"], error["message"]


async def read(client: Client, uri: str) -> Any:
    """The JSON of a resource."""
    found = await client.read_resource(uri)
    [content] = found.contents
    assert isinstance(content, types.TextResourceContents)
    assert content.mime_type == "application/json"
    return json.loads(content.text)
