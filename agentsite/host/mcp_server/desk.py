"""What one caller finds at one agent's MCP endpoint: three tools, and its stores.

Law: made for one request and one caller, so no argument can name another scope or agent.
Whatever is done here is a thing the caller could ask for over HTTP, done by the same functions.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from jsonschema import Draft202012Validator
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from sse_starlette.sse import AppStatus

from agentsite.host.agents import Agent
from agentsite.host.errors import Refusal
from agentsite.host.identity import Caller
from agentsite.host.mcp_server import resources
from agentsite.host.mcp_server.answering import answer, stop
from agentsite.host.mcp_server.exchange import App, Receive, Send
from agentsite.host.mcp_server.talk import Talk
from agentsite.host.mcp_server.tools import NAMES, list_tools
from agentsite.host.rest import explain_rest
from agentsite.rows.tenancy import act_for

Context = ServerRequestContext[Any, Any]
Result = types.CallToolResult | types.InputRequiredResult
Work = Callable[[Talk, dict[str, Any]], Awaitable[Result]]
TOOLS: dict[str, Work] = {
    "chat": Talk.say,
    "answer": answer,
    "stop": stop,
}


def application(caller: Caller, agent: Agent, key: str | None, *, stream: bool) -> App:
    """An ASGI application for one request; it answers as a stream where the client takes one.

    `key` is the request's `Idempotency-Key`.
    """
    # Streams end with their runs and with the hub, within the server's grace: not at once.
    AppStatus.enable_automatic_graceful_drain = False
    server = Desk(caller, agent, key).make_server()

    async def serve(scope: Any, receive: Receive, send: Send) -> None:
        # Stateless: a session in a process would tie its client to that process, and outlive it.
        manager = StreamableHTTPSessionManager(server, stateless=True, json_response=not stream)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    return serve


class Desk:
    """Handlers of the protocol for one caller and one agent."""

    def __init__(self, caller: Caller, agent: Agent, key: str | None) -> None:
        self.caller = caller
        self.agent = agent
        self.key = key

    def make_server(self) -> Server[Any]:
        """The SDK's registry of these handlers."""
        config = self.agent.bundle.config
        return Server(
            self.agent.id,
            version=self.agent.bundle.version,
            title=config.name,
            description=config.description or None,
            instructions=config.description or None,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
        )

    async def list_tools(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list_tools(self.agent))

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> Result:
        """Carry out a call; what is refused is a result that says why."""
        act_for(self.caller.scope_id)
        if params.name not in TOOLS:
            text = f'There is no tool "{params.name}": there are {", ".join(TOOLS)}.'
            raise MCPError(types.INVALID_PARAMS, text)
        try:
            arguments = check_arguments(params.name, params.arguments or {})
            talk = Talk(self.caller, self.agent, context, params, self.key)
            return await TOOLS[params.name](talk, arguments)
        except Exception as error:  # noqa: BLE001 - an edge; `explain_rest` logs it
            return refuse(error)

    async def list_resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=resources.list_stores(self.agent))

    async def list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=resources.TEMPLATES)

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """A page of a store or a document. Raises `MCPError` with the code that REST has."""
        act_for(self.caller.scope_id)
        try:
            text = await resources.read(self.agent, self.caller, params.uri)
        except Exception as error:
            status, told = read_error(error)
            code = types.INVALID_PARAMS if status < 500 else types.INTERNAL_ERROR
            raise MCPError(code, told["message"], told) from error
        content = types.TextResourceContents(
            uri=params.uri, mime_type="application/json", text=text
        )
        return types.ReadResourceResult(contents=[content])


def check_arguments(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without what is null. Raises `Refusal` for what does not fit."""
    given = {key: value for key, value in arguments.items() if value is not None}
    for problem in Draft202012Validator(NAMES[name]).iter_errors(given):
        where = ".".join(map(str, problem.absolute_path))
        text = f"{where}: {problem.message}" if where else problem.message
        raise Refusal(400, "invalid_field", text[:500])
    return given


def refuse(error: Exception) -> types.CallToolResult:
    """What a caller is told of an error: REST's own words."""
    _, told = read_error(error)
    return types.CallToolResult(
        content=[types.TextContent(text=told["message"])],
        structured_content={"error": told},
        is_error=True,
    )


def read_error(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and `{"code", "message", "details"?}`, as REST would answer."""
    response = explain_rest(error)
    return response.status_code, json.loads(response.content)["error"]
