"""The door of `/mcp` and `/mcp/{agentId}`: who calls, and which agent, before the protocol begins.

Law: a caller passes the same checks as everywhere, for every single request; nothing is kept
between two of them, so any process serves any request and a client that is gone leaves nothing.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from agentsite.host.agents import Agent
from agentsite.host.caller import resolve_caller
from agentsite.host.edges import api, check_origin, read_json_body
from agentsite.host.errors import Refusal
from agentsite.host.mcp_server.exchange import pass_on
from agentsite.host.site import site
from agentsite.host.views import read_bare_key
from agentsite.manifest.reload import UnknownAgent
from agentsite.rows.units import unit

STREAM = "text/event-stream"


@api("POST")
async def mcp(request: HttpRequest, agent_id: str | None = None) -> HttpResponseBase:
    """`POST /mcp`: one message of the protocol for an agent, by default the first."""
    check_origin(request)
    named = choose_agent(request, agent_id)
    caller = await resolve_caller(request, agent=named)
    body, key = read_json_body(request), read_bare_key(request)
    agent = await unit(_find_agent, named)
    # The SDK takes seconds and tens of megabytes: only who is talked to in its protocol pays.
    desk: Any = await asyncio.to_thread(import_module, "agentsite.host.mcp_server.desk")
    accepts_stream = STREAM in request.headers.get("accept", "")
    app = desk.application(caller, agent, key, stream=accepts_stream)
    return await pass_on(app, _make_scope(request, accepts_stream), body)


def choose_agent(request: HttpRequest, in_path: str | None) -> str:
    """The agent that path or query name, else the default one. Raises `Refusal` for two."""
    in_query = {request.GET[name] for name in ("agentId", "agent") if request.GET.get(name)}
    named = in_query | ({in_path} if in_path else set())
    if len(named) > 1:
        told = " and ".join(f'"{name}"' for name in sorted(named))
        raise Refusal(400, "invalid_field", f"The address names two agents: {told}. Name one.")
    return named.pop() if named else site().agents.sources.default


def _find_agent(agent_id: str) -> Agent:
    try:
        return site().agents.current(agent_id)
    except UnknownAgent as error:
        raise Refusal(404, "agent_not_found", f'There is no agent "{agent_id}".') from error


def _make_scope(request: HttpRequest, accepts_stream: bool) -> dict[str, Any]:
    """The request for the SDK, which wants both kinds of answer named: whoever does not name the
    stream is answered in JSON."""
    accept = f"application/json, {STREAM}" if accepts_stream else "application/json"
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers.items()
        if name.lower() != "accept"
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*headers, (b"accept", accept.encode())],
        "server": None,
        "client": None,
    }
