"""Who may speak to `/mcp`: exactly who may call over HTTP, for what it may call for."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from mcp.shared.exceptions import MCPError

from tests.gatehouse import Gate
from tests.issuer import AUDIENCE, ISSUER, SECRET
from tests.mcp_server.speaking import MODES, refused, said, speak
from tests.requirements import requirement

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def bearing(key: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **headers}


def token(**claims: Any) -> str:
    standard = {"exp": int(time.time()) + 300, "iss": ISSUER, "aud": AUDIENCE, "sub": "ada"}
    return jwt.encode({**standard, **claims}, SECRET, "HS256")


@requirement("mcp.callers")
def test_the_doors_answers_are_those_of_http(gate: Gate) -> None:
    key = gate.key()
    bound = gate.key(scopes=["acme"], agents=["free"])
    for bearer, path, status, code in (
        (None, "/mcp/free", 401, "unauthorized"),
        ("ak_unknown", "/mcp/free", 401, "unauthorized"),
        (key, "/mcp/strict", 400, "scope_required"),
        (key, "/mcp?agentId=strict", 400, "scope_required"),
        (key, "/mcp/free?scope_id=a&scopeId=b", 400, "scope_contradiction"),
        (bound, "/mcp/free?scope_id=other", 403, "scope_forbidden"),
        (bound, "/mcp/free", 403, "scope_forbidden"),
        (bound, "/mcp/strict?scope_id=acme", 403, "agent_forbidden"),
        (key, "/mcp/nobody", 404, "agent_not_found"),
    ):
        answer = gate.ask("POST", path, LIST, bearer)
        assert (answer.status, answer.code) == (status, code), (path, answer.body)
    challenge = gate.ask("POST", "/mcp/free", LIST).headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert gate.ask("POST", "/mcp/free?scope_id=acme", LIST, bound).status == 200
    assert gate.ask("POST", "/mcp/free", LIST, bound, X_Scope_Id="acme").status == 200


@requirement("mcp.callers")
def test_a_rate_counts_every_message_and_a_block_closes_the_door(gate: Gate) -> None:
    slow = gate.key(rate_limit=2, tokens=2)
    told = [gate.ask("POST", "/mcp/free?scope_id=slow", LIST, slow) for _ in range(4)]
    assert [answer.status for answer in told].count(429) >= 1
    last = next(answer for answer in told if answer.status == 429)
    assert last.code == "rate_limited"
    assert int(last.headers["retry-after"]) >= 1
    key = gate.key()
    gate.change(
        "INSERT INTO sessions_app_scope (agent, scope_id, label, context, blocked_at)"
        " VALUES ('free', 'mcp-blocked', '', '{}', now())"
    )
    answer = gate.ask("POST", "/mcp/free?scope_id=mcp-blocked", LIST, key)
    assert (answer.status, answer.code) == (403, "scope_blocked")


@requirement("mcp.callers")
@pytest.mark.parametrize("mode", MODES)
async def test_a_keys_scope_is_the_partition(gate: Gate, mode: str) -> None:
    key, url = gate.key(), f"{gate.server.url}/mcp/strict"
    async with speak(url, mode, bearing(key, **{"X-Scope-Id": "mcp-a"})) as mcp:
        session = said(await mcp.call_tool("chat", {"message": "Hello"}))["sessionId"]
    row = gate.query("SELECT scope_id, agent FROM sessions_app_session WHERE id = %s", session)
    assert row == [("mcp-a", "strict")]
    async with speak(url, mode, bearing(key, **{"X-Scope-Id": "mcp-b"})) as mcp:
        for name in ("chat", "answer", "stop"):
            more = {"message": "x"} if name == "chat" else {}
            more |= {"decline": True} if name == "answer" else {}
            result = await mcp.call_tool(name, {"sessionId": session, **more})
            assert refused(result)[0] == "session_not_found", name


@requirement("mcp.callers")
@pytest.mark.parametrize("mode", MODES)
async def test_a_tokens_claims_win(gate: Gate, mode: str) -> None:
    bearer = token(scope_id="mcp-claimed")
    url = f"{gate.server.url}/mcp/strict?scope_id=mcp-other"
    async with speak(url, mode, bearing(bearer)) as mcp:
        session = said(await mcp.call_tool("chat", {"message": "Hello"}))["sessionId"]
    row = gate.query("SELECT scope_id FROM sessions_app_session WHERE id = %s", session)
    assert row == [("mcp-claimed",)]


@requirement("mcp.callers")
async def test_a_key_that_is_revoked_is_refused_at_the_next_message(gate: Gate) -> None:
    key = gate.key()
    url = f"{gate.server.url}/mcp/free?scope_id=revoked"
    async with speak(url, "legacy", bearing(key)) as mcp:
        said(await mcp.call_tool("chat", {"message": "Hello"}))
        gate.change("UPDATE sessions_app_apikey SET revoked_at = now() WHERE prefix = %s", key[:10])
        with pytest.raises(MCPError):
            await mcp.call_tool("chat", {"message": "Hello"})


@requirement("mcp.origin")
def test_pages_of_strangers_are_refused(gate: Gate) -> None:
    key = gate.key()
    for origin, status in (
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:5173", 200),
        (gate.server.url, 200),
    ):
        answer = gate.ask("POST", "/mcp/free?scope_id=o", LIST, key, Origin=origin)
        assert answer.status == status, (origin, answer.body)
    asked = {
        "Origin": "http://localhost:5173",
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "mcp-protocol-version,mcp-method,mcp-name,authorization",
    }
    allowed = gate.ask("OPTIONS", "/mcp/free", **asked).headers["access-control-allow-headers"]
    assert {"mcp-protocol-version", "mcp-method", "mcp-name"} <= set(allowed.split(", "))
