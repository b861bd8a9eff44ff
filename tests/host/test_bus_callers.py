"""What keys and staff hear of the bus: their scopes, their agents, or everything."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import aiohttp

from sessions_app.api_keys import SHOWN, fingerprint
from tests.host.bus_client import listen
from tests.lab import Lab
from tests.requirements import requirement
from tests.wire_client import Client


def make_key(lab: Lab, role: str = "user", agents: list[str] = [], scopes: list[str] = []) -> str:  # noqa: B006 - never changed
    text = f"ak_{uuid.uuid4().hex}"
    lab.change(
        "INSERT INTO sessions_app_apikey (name, role, agents, scopes, tokens, prefix, key_hash,"
        " created_by) VALUES ('test', %s, %s, %s, 0, %s, %s, '')",
        role, json.dumps(agents), json.dumps(scopes), text[:SHOWN], fingerprint(text),
    )  # fmt: skip
    return f"Bearer {text}"


@requirement("scope.bus")
async def test_a_key_hears_of_its_scopes_and_agents(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab(AGENT_AUTH="key")
    client = Client(http, lab.start().wait_ready().url)
    ops, narrow = make_key(lab, "ops"), make_key(lab, agents=["plain"], scopes=["mine"])
    bound = make_key(lab, "ops", scopes=["mine"])

    async def say(agent: str, scope: str) -> None:
        other = client.of(agent)
        body = other.body("Hello", scope_id=scope)
        reply = await other.post("/chat/sync", body, Authorization=ops)
        assert reply.status == 200, reply.raw

    for query, key in (("all=1", narrow), ("all=1", bound), ("scope_id=other", narrow)):
        reply = await client.ask("GET", f"/api/events?{query}", Authorization=key)
        assert reply.status == 403, reply.raw
    assert (await client.ask("GET", "/api/events")).status == 401
    assert (await client.ask("GET", "/admin/events")).status == 403
    async with (
        listen(client, "mine", bearer=narrow) as own,
        listen(client, None, bearer=ops, all="1") as whole,
    ):
        for agent, scope in (("chat", "mine"), ("plain", "other"), ("plain", "mine")):
            await say(agent, scope)
        await own.event("run_finished")
        await whole.event("run_finished", 3)
    assert {(f.data["appId"], f.data.get("scope_id")) for f in own.frames[1:]} <= {
        ("plain", "mine"),
        ("plain", None),
    }
    heard = {f.data.get("scope_id") for f in whole.frames if f.event == "run_finished"}
    assert heard == {"mine", "other"}
