"""`request`: a call of one of the agent's connections.

Law: `intent` is a word of the model and approves nothing. Only a person does, and only the
call that was shown.
"""

from __future__ import annotations

from typing import Any

from agentsite.connections.caller import Caller
from agentsite.connections.prepare import Wish
from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, Wanted, object_schema
from agentsite.tools.connections import (
    call_connection,
    find_host,
    find_host_rate,
    find_question,
    rest_connections,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SIMPLE = {"type": ["string", "number", "boolean", "null"]}
NOT_A_READ = '{method} requires intent "write" or "confirmed_write", not "read"'


def build_request(bundle: Bundle) -> list[Tool]:
    """The tool, for an agent with connections."""
    names = sorted(rest_connections(bundle))
    if not names:
        return []

    def ask(caller: Caller, arguments: dict[str, Any]) -> Wanted | None:
        if _misnames_intent(arguments):
            return None
        return find_question(bundle, _read_wish(arguments), caller)

    return [
        Tool(
            name="request",
            description=(
                "Call one of the connected systems. Take endpoints from the list of the"
                " connection; what is to be filled in, `{id}` say, goes into the path or into"
                " params. Some calls are put before a person first: wait for the answer."
            ),
            parameters=object_schema(
                {
                    "connection": {"enum": names, "description": "Name of the connected system."},
                    "method": {"enum": list(METHODS)},
                    "endpoint": {"type": "string", "description": 'Path, such as "/orders/7".'},
                    "params": {
                        "type": "object",
                        "description": "Query parameters.",
                        "additionalProperties": {
                            "anyOf": [SIMPLE, {"type": "array", "items": SIMPLE}]
                        },
                    },
                    "data": {"description": "Body of POST, PUT and PATCH; a JSON value."},
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                    "intent": {
                        "enum": ["read", "write", "confirmed_write"],
                        "description": '"write" for everything but GET.',
                    },
                },
                required=("connection", "method", "endpoint"),
            ),
            call=_request,
            ask=ask,
            host=lambda arguments: find_host(bundle, str(arguments.get("connection"))),
            host_rate=lambda arguments: find_host_rate(bundle, str(arguments.get("connection"))),
            reads=lambda arguments: bool(
                arguments.get("method") == "GET" and arguments.get("intent", "read") == "read"
            ),
            running_label="Calling {{connection}}",
            completed_label="Called {{connection}}: {{method}} {{endpoint}}",
        )
    ]


async def _request(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    if _misnames_intent(arguments):
        raise ToolError(NOT_A_READ.format(method=arguments["method"]))
    return ToolResult.ok(await call_connection(context, _read_wish(arguments)))


def _misnames_intent(arguments: dict[str, Any]) -> bool:
    return arguments["method"] != "GET" and arguments.get("intent") == "read"


def _read_wish(arguments: dict[str, Any]) -> Wish:
    return Wish(
        connection=arguments["connection"],
        method=arguments["method"],
        endpoint=arguments["endpoint"],
        params=arguments.get("params") or {},
        data=arguments.get("data"),
        headers=arguments.get("headers") or {},
    )
