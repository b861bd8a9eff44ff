"""Every agent is an MCP server: `chat`, its progress, its questions, its end."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.mcp_server.speaking import MODES, refused, said, speak
from tests.requirements import requirement
from tests.server import Client
from tests.servers import Server

KEYS = {"sessionId", "runId", "response", "toolCalls", "usage", "cost", "reason"}


def address(server: Server, scope: str, agent: str = "trials") -> str:
    return f"{server.url}/mcp/{agent}?scope_id={scope}"


@requirement("mcp.chat", "mcp.protocols")
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_talks_to_an_agent_and_goes_on(
    server: Server, client: Client, mode: str
) -> None:
    async with speak(address(server, client.scope), mode) as mcp:
        assert mcp.protocol_version == ("2025-11-25" if mode == "legacy" else mode)
        tools = (await mcp.list_tools()).tools
        assert [tool.name for tool in tools] == ["answer", "chat", "stop"]
        first = said(await mcp.call_tool("chat", {"message": "plain"}))
        assert first.keys() >= KEYS
        assert first["response"].startswith("Just **words**")
        assert first["reason"] == "model_stop"
        again = said(
            await mcp.call_tool("chat", {"message": "count", "sessionId": first["sessionId"]})
        )
    assert again["sessionId"] == first["sessionId"]
    assert again["toolCalls"][0]["result"] == '{"counted":3}'
    shown = client.get(f"/sessions/{first['sessionId']}")
    assert len(shown["messages"]) >= 4


@requirement("mcp.chat")
async def test_the_answer_is_the_one_of_chat_sync(server: Server, client: Client) -> None:
    there = client.ask("POST", "/chat/sync", client.message("count")).json
    async with speak(address(server, client.scope), "legacy") as mcp:
        here = said(await mcp.call_tool("chat", {"message": "count"}))

    def blank(document: dict[str, Any]) -> Any:
        ids = {"sessionId", "session_id", "runId"}
        calls = [{**call, "id": ""} for call in document["toolCalls"]]
        return {**{k: v for k, v in document.items() if k not in ids}, "toolCalls": calls,
                "tool_calls": calls}  # fmt: skip

    assert blank(here) == blank(there)


@requirement("mcp.progress")
@pytest.mark.parametrize("mode", MODES)
async def test_progress_is_told_while_the_run_goes_on(
    server: Server, client: Client, mode: str
) -> None:
    told: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async with speak(address(server, client.scope), mode) as mcp:
        answer = said(await mcp.call_tool("chat", {"message": "count"}, progress_callback=hear))
    whole = "".join(message for _, message in told)
    assert whole == "Counting.\n[Counting to 3]\nIt is three."
    assert [number for number, _ in told] == sorted({number for number, _ in told})
    assert answer["response"] == "Counting.\n\nIt is three."


@requirement("mcp.chat")
@pytest.mark.parametrize("mode", MODES)
async def test_what_is_refused_is_said_in_the_words_of_http(
    server: Server, client: Client, mode: str
) -> None:
    async with speak(address(server, client.scope), mode) as mcp:
        for arguments, code in (
            ({"message": "plain", "sessionId": "sess_unknown"}, "session_not_found"),
            ({"message": ""}, "invalid_field"),
            ({}, "invalid_field"),
            ({"message": "plain", "agentId": "desk"}, "invalid_field"),
            ({"message": "plain", "context": {"role": "admin"}}, "invalid_field"),
            ({"message": [{"type": "text", "text": "plain"}]}, "invalid_field"),
        ):
            assert refused(await mcp.call_tool("chat", arguments))[0] == code, arguments
        with pytest.raises(MCPError, match="There is no tool"):
            await mcp.call_tool("plain", {})
        failed = await mcp.call_tool("chat", {"message": "refused"})
        assert failed.is_error
        assert failed.structured_content["error"]["code"]
        assert failed.structured_content["sessionId"]


@requirement("mcp.chat", "http.idempotency")
@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_is_sent_again_with_its_key_is_the_same_run(
    server: Server, client: Client, mode: str
) -> None:
    key = {"Idempotency-Key": f"called twice {mode} {client.scope}"}
    async with speak(address(server, client.scope), mode, key) as mcp:
        first, again = [said(await mcp.call_tool("chat", {"message": "count"})) for _ in range(2)]
        assert again["runId"] == first["runId"]
        assert again["response"] == first["response"]
        joined = said(await mcp.call_tool("chat", {"sessionId": first["sessionId"]}))
        assert joined["runId"] == first["runId"]
        other = await mcp.call_tool("chat", {"message": "plain"})
        assert refused(other)[0] == "idempotency_key_reused"
    assert len(client.get("/sessions")["sessions"]) == 1
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    long = client.ask("POST", "/mcp/trials", ping, headers={"Idempotency-Key": "k" * 201})
    assert (long.status, long.code) == (400, "invalid_field")


@requirement("mcp.one-agent")
@pytest.mark.parametrize("mode", MODES)
async def test_an_address_is_one_agents(server: Server, client: Client, mode: str) -> None:
    async with speak(address(server, client.scope), mode) as mcp:
        session = said(await mcp.call_tool("chat", {"message": "plain"}))["sessionId"]
    async with speak(address(server, client.scope, "desk"), mode) as mcp:
        for name, more in (
            ("chat", {"message": "x"}),
            ("chat", {}),
            ("answer", {"decline": True}),
            ("stop", {}),
        ):
            result = await mcp.call_tool(name, {"sessionId": session, **more})
            assert refused(result)[0] == "session_not_found", name
    unknown = client.ask("POST", "/mcp/nobody", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert (unknown.status, unknown.code) == (404, "agent_not_found")
    two = client.ask("POST", "/mcp/desk", {}, agentId="trials")
    assert (two.status, two.code) == (400, "invalid_field")
    default = client.ask("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert default.json["result"]["tools"][1]["title"] == "Talk to fernhill-support"
