"""Calls of MCP servers, and the pool of connections of this process.

Law: a tool is called only while the server lists it as it was accepted and as this run knows
it, asked of the rows at each call. What may have taken effect is not repeated, unless the
server says that it is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import httpx2
from mcp import Client

from agentsite.connections.targets import parse_target
from agentsite.connections.transport import GuardedTransport
from agentsite.mcp_client import adapt
from agentsite.mcp_client.endpoint import Endpoint, Key, settle
from agentsite.mcp_client.errors import Lost, McpError, NotSent, Unavailable
from agentsite.mcp_client.listing import Listing, read_pages
from agentsite.mcp_client.names import OURS
from agentsite.mcp_client.pool import Pool
from agentsite.operations import pins
from agentsite.operations.pins import Met, ToolVersion
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from agentsite.tools.base import ToolContext, ToolError, ToolResult

MOST_LISTED = 200
NOT_A_SCOPES = "MCP servers are an agent's, not a scope's"
CHANGED = (
    'The MCP server {server} has changed its tool "{tool}" since it was accepted, or an operator'
    " has refused it. It can be used again when an operator has accepted the change."
)

NEWER = (
    'The MCP server {server} has changed its tool "{tool}" since this run began; the change is'
    " accepted, and the tool can be used again with the next message."
)


async def call_server(
    context: ToolContext, server: str, version: ToolVersion, arguments: dict[str, Any]
) -> ToolResult:
    """Call a tool, or what is ours beside them. Raises `ToolError`."""
    work = _choose_work(version, context, arguments)
    spec, root = context.bundle.mcp_servers[server], context.bundle.root
    try:
        endpoint = await settle(server, spec, root, context.open_credential)
        key = Key(context.agent, server, context.scope_id)
        listing = await mcp_pool().listing(key, endpoint)
        await _require_accepted(key, version, listing)
        return await mcp_pool().request(key, endpoint, work)
    except McpError as error:
        transient = isinstance(error, Lost | NotSent | Unavailable)
        raise ToolError(str(error), transient=transient) from None


async def list_server(key: Key, endpoint: Endpoint) -> str | None:
    """Connect and take down what a server lists; why it could not be done, or None."""
    try:
        await mcp_pool().listing(key, endpoint)
    except McpError as error:
        return str(error)
    return None


async def _require_accepted(key: Key, version: ToolVersion, listing: Listing) -> None:
    """Raise `ToolError` unless the tool is, at this moment, one that may be used."""
    now = listing.digest(version.name)
    if now is None:
        raise ToolError(f'The MCP server {key.server} no longer has a tool "{version.name}".')
    with acting_for_all(NOT_A_SCOPES):
        allowed = await unit(pins.is_accepted, key.agent, key.server, version.name, now)
    if not allowed:
        raise ToolError(CHANGED.format(server=key.server, tool=version.name))
    if now != version.digest:  # what this run knows of its effects is of the old one
        raise ToolError(NEWER.format(server=key.server, tool=version.name))


# ---- what is asked of the server --------------------------------------------------------

Work = Callable[[Client], Awaitable[ToolResult]]


def _choose_work(version: ToolVersion, context: ToolContext, arguments: dict[str, Any]) -> Work:
    """What a call does with a client of the server. Raises `ToolError` for bad arguments."""
    if version.digest == f"{OURS}list_resources":
        return _list_resources
    if version.digest == f"{OURS}read_resource":
        return partial(_read_resource, uri=_text(arguments, "uri"))
    if version.digest == f"{OURS}list_prompts":
        return _list_prompts
    if version.digest == f"{OURS}get_prompt":
        given = arguments.get("arguments") or {}
        if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
            raise ToolError("Invalid parameters: arguments: must be an object of texts")
        return partial(_get_prompt, name=_text(arguments, "name"), given=given)
    return partial(_call_tool, name=version.name, context=context, arguments=arguments)


async def _call_tool(
    client: Client, name: str, context: ToolContext, arguments: dict[str, Any]
) -> ToolResult:
    async def show(progress: float, total: float | None, message: str | None) -> None:
        told = {"progress": progress, "total": total, "message": message}
        context.progress({each: value for each, value in told.items() if value is not None})

    result = await client.call_tool(name, arguments, progress_callback=show)
    return ToolResult.of_blocks(adapt.read_result(result), error=result.is_error)


async def _list_resources(client: Client) -> ToolResult:
    resources = await read_pages(client.list_resources, "resources", MOST_LISTED)
    patterns = await read_pages(client.list_resource_templates, "resource_templates", MOST_LISTED)
    return ToolResult.ok(adapt.describe_resources(resources, patterns))


async def _read_resource(client: Client, uri: str) -> ToolResult:
    result = await client.read_resource(uri)
    return ToolResult.of_blocks(adapt.read_resource(result.contents))


async def _list_prompts(client: Client) -> ToolResult:
    prompts = await read_pages(client.list_prompts, "prompts", MOST_LISTED)
    return ToolResult.ok(adapt.describe_prompts(prompts))


async def _get_prompt(client: Client, name: str, given: dict[str, str]) -> ToolResult:
    result = await client.get_prompt(name, given)
    return ToolResult.of_blocks(adapt.read_prompt(result))


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ToolError(f"Invalid parameters: {name}: must be a text")
    return value


# ---- the pool of this process -------------------------------------------------------------


def _make_transport(url: str) -> httpx2.AsyncBaseTransport:
    return GuardedTransport(frozenset({parse_target(url).origin}))


async def note_listing(key: Key, endpoint: Endpoint, listing: Listing) -> None:
    """Pin what a server lists: a tool that is new is accepted, a changed one waits."""
    tools = [
        ToolVersion(each.name, each.digest, each.description, each.parameters, each.annotations)
        for each in listing.tools
    ]
    met = Met(listing.protocol, listing.software)
    problem = "Tools left out: " + "; ".join(listing.left_out) if listing.left_out else ""
    with acting_for_all(NOT_A_SCOPES):
        common = not endpoint.own
        await unit(pins.record_listing, key.agent, key.server, met, tools, common=common)
        if problem:
            await unit(pins.record_problem, key.agent, key.server, problem)


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()


def mcp_pool() -> Pool:
    """The pool of this process, for the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        _pools[loop] = Pool(_make_transport, note_listing)
    return _pools[loop]


async def close_mcp_pool() -> None:
    """Close the pool of this event loop; to be called before the loop ends."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()
