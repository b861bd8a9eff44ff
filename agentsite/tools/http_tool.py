"""Custom tools of `"type": "http"`: one call of a connection, written down in tool.json.

Law: the call goes the way of `request`: same credentials, access rules, injection; what
asks a person there asks here.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from agentsite.connections.caller import Caller
from agentsite.connections.prepare import Wish
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.tools import ToolFolder
from agentsite.tools.base import Call, ToolContext, ToolError, ToolResult, Wanted
from agentsite.tools.connections import call_connection, find_question
from agentsite.tools.shaping import MISSING, shape_result
from agentsite.tools.templates import fill_json, fill_path, fill_text, moments

FAILED_FROM = 400


def write_wish(folder: ToolFolder, arguments: dict[str, Any]) -> Wish:
    """The call of a tool with these arguments."""
    manifest = folder.manifest
    values = {**moments(dt.datetime.now(dt.UTC)), **arguments}
    params = {name: fill_json(value, values) for name, value in manifest.params.items()}
    data = None if manifest.data is None else fill_json(manifest.data, values)
    return Wish(
        connection=manifest.connection or "",
        method=manifest.method or "GET",
        endpoint=fill_path(manifest.endpoint or "", values),
        params={name: value for name, value in params.items() if value is not MISSING},
        data=None if data is MISSING else data,
        headers={name: fill_text(value, values) for name, value in manifest.headers.items()},
        trusted_headers=True,
    )


def make_http_ask(bundle: Bundle, folder: ToolFolder) -> Any:
    """What decides whether a person is asked before a call of this tool."""

    def ask(caller: Caller, arguments: dict[str, Any]) -> Wanted | None:
        try:
            wish = write_wish(folder, arguments)
        except ToolError:  # it will fail, and nobody needs to be asked
            return None
        return find_question(bundle, wish, caller)

    return ask


def make_http_call(folder: ToolFolder) -> Call:
    """The function that runs the tool; a status from 400 on is an error."""

    async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        told = await call_connection(context, write_wish(folder, arguments))
        if told["status"] >= FAILED_FROM:
            text = ToolResult.ok(told["data"]).text[:2_000]
            raise ToolError(
                f"{folder.manifest.connection} answered {told['status']}: {text}",
                transient=told["status"] in (429, 502, 503, 504),
            )
        return shape_result(told["data"], folder.response_shaping)

    return call
