"""Clients that cancel, vanish or come in numbers: runs go on, nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import psutil
import pytest

from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.mcp_server.speaking import MODES, said, speak
from tests.processes import within
from tests.requirements import requirement
from tests.server import Client


def of_scope(lab: Lab, scope: str) -> list[tuple[Any, ...]]:
    return lab.query(
        "SELECT id, session_id, status, reason FROM sessions_app_run WHERE scope_id = %s", scope
    )


@requirement("mcp.disconnect")
@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_request_stops_no_run(lab: Lab, gates: Gates, mode: str) -> None:
    scope = f"left-{mode}"
    message = plan({"tools": [call("gate", port=gates.port, note="in")]}, {"text": "Whole."})
    address = f"{lab.servers[0].url}/mcp/plain?scope_id={scope}"
    async with speak(address, mode) as mcp:
        asking = asyncio.create_task(mcp.call_tool("chat", {"message": message}))
        gate = await gates.next()
        asking.cancel()
        await asyncio.wait([asking])
    [(_, session, status, _)] = of_scope(lab, scope)
    assert status == "running"
    gate.open("done")
    async with speak(address, mode) as mcp:
        answer = said(await mcp.call_tool("chat", {"sessionId": session}))
    assert answer["response"] == "Whole."
    assert answer["toolCalls"][0]["result"] == "done"


@requirement("mcp.disconnect")
@pytest.mark.parametrize("mode", MODES)
async def test_the_tool_stop_stops_it(lab: Lab, gates: Gates, mode: str) -> None:
    scope = f"stopped-{mode}"
    message = plan({"tools": [call("gate", port=gates.port, note="in")]}, {"text": "Never."})
    address = f"{lab.servers[0].url}/mcp/plain?scope_id={scope}"
    async with speak(address, mode) as mcp:
        asking = asyncio.create_task(mcp.call_tool("chat", {"message": message}))
        await gates.next()
        [(run, session, _, _)] = of_scope(lab, scope)
        stopped = said(await mcp.call_tool("stop", {"sessionId": session}))
        assert stopped == {"ok": True, "sessionId": session, "runId": run}
        answer = said(await asking)
        idle = said(await mcp.call_tool("stop", {"sessionId": session}))
    assert answer["reason"] == "user_abort"
    assert idle["runId"] is None


@requirement("mcp.leaves-nothing", "runs.no-connection")
async def test_open_calls_hold_no_connection_and_leave_nothing(lab: Lab, gates: Gates) -> None:
    """Clients of each mode wait for their runs, then vanish in mid-stream."""
    server = lab.start(DB_POOL_SIZE="2").wait_ready()
    process = psutil.Process(server.process.pid)
    client = Client(server, "crowd", "plain")
    said_once = client.ask("POST", "/mcp/plain", rpc("tools/list"))
    assert said_once.status == 200
    before = len(process.net_connections("all"))
    message = plan({"tools": [call("gate", port=gates.port, note="in")]}, {"text": "Whole."})
    many = httpx2.Limits(max_connections=None)
    url = f"{server.url}/mcp/plain?scope_id=crowd"
    async with httpx2.AsyncClient(timeout=30, limits=many) as http, asyncio.TaskGroup() as group:
        asked = [
            group.create_task(listen(http, url, mode, message)) for mode in MODES for _ in range(8)
        ]
        waiting = [await gates.next() for _ in asked]
        # While they are open, two connections serve everybody else.
        other = Client(server, "other", "plain")
        assert other.say(plan({"text": "Hello."}))[-1].event == "done"
        for task in asked:
            task.cancel()
    for gate in waiting:
        gate.open("done")
    assert within(20, lambda: {row[2] for row in of_scope(lab, "crowd")} == {"done"})
    assert {row[3] for row in of_scope(lab, "crowd")} == {"model_stop"}
    assert within(20, lambda: len(process.net_connections("all")) <= before + 2)
    assert within(20, lambda: client.get("/health")["active_sessions"] == 0)
    server.stop()


async def listen(http: httpx2.AsyncClient, url: str, mode: str, message: str) -> None:
    """Ask in the wire's own words, and read what comes until it is cancelled."""
    headers = {"Accept": "application/json, text/event-stream"}
    body = rpc("tools/call", name="chat", arguments={"message": message})
    if mode != "legacy":
        headers |= {"MCP-Protocol-Version": mode, "Mcp-Method": "tools/call", "Mcp-Name": "chat"}
        body["params"]["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": mode,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    async with http.stream("POST", url, headers=headers, json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for _ in response.aiter_lines():
            pass


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@requirement("mcp.protocols")
def test_who_takes_no_stream_is_answered_in_json(lab: Lab) -> None:
    client = Client(lab.servers[0], "plain-json", "plain")
    said_once = client.ask(
        "POST",
        "/mcp/plain",
        rpc("tools/call", name="chat", arguments={"message": plan({"text": "Hi."})}),
    )
    assert said_once.headers["content-type"].startswith("application/json")
    assert said_once.json["result"]["structuredContent"]["response"] == "Hi."
    for method in ("GET", "DELETE", "PUT"):
        refused = client.ask(method, "/mcp/plain", {} if method == "PUT" else None)
        assert (refused.status, refused.code) == (405, "method_not_allowed")
    for body, kind in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"{}", "text/plain"),
    ):
        bad = client.ask("POST", "/mcp/plain", body, headers={"Content-Type": kind})
        assert bad.status in (400, 415), bad.body
        assert b"Traceback" not in bad.body
        json.loads(bad.body)
