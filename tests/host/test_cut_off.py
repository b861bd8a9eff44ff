"""Who waits for what will not come here is told so, and waits no longer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import aiohttp

from tests.host.bus_client import listen
from tests.host.test_bus_callers import make_key
from tests.host.test_recovery import LONG, SPOKEN
from tests.lab import Lab, plan
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client, eventually


async def test_the_streams_of_a_deleted_session_end(client: Client, elsewhere: Client) -> None:
    session_id = (await client.talk("Hello")).session_id
    async with client.follow(session_id) as here, elsewhere.follow(session_id) as there:
        for stream in (here, there):
            await stream.event("done")
        assert (await elsewhere.ask("DELETE", f"/sessions/{session_id}")).status == 204
        for stream in (here, there):
            await stream.to_close()


async def test_whoever_awaits_an_answer_of_a_stopping_process_is_told_where_to_look(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client
) -> None:
    message = plan({**SPOKEN, "deltas": 200})
    asking = asyncio.create_task(doomed.post("/chat/sync", doomed.body(message)))

    async def has_begun() -> bool:
        return bool(crash_lab.query("SELECT 1 FROM sessions_app_run WHERE status = 'running'"))

    await eventually(has_begun)
    victim.process.send_signal(signal.SIGTERM)
    reply = await asking
    assert (reply.status, reply.code) == (503, "answer_cut_off")
    session_id = reply.json["error"]["details"]["sessionId"]
    async with survivor.follow(session_id) as stream:
        await stream.until(lambda stream: "done" in stream.events, LONG)


@requirement("scope.key")
async def test_an_open_stream_ends_in_time_and_a_revoked_key_does_not_come_back(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab(AGENT_AUTH="key", AUTH_CACHE_SECONDS="0", STREAM_SECONDS="1")
    client, key = Client(http, lab.start().wait_ready().url), make_key(lab)
    bearer = {"Authorization": key}
    reply = await client.post("/chat/sync", client.body("Hello"), **bearer)
    session_id = reply.json["sessionId"]
    async with client.follow(session_id, **bearer) as stream, listen(client, bearer=key) as bus:
        await stream.to_close()
        assert "done" in stream.events and stream.rest == b""
        while await asyncio.wait_for(bus.response.content.readany(), LONG):
            pass
    async with client.follow(session_id, stream.last_id, **bearer) as again:
        lab.change("UPDATE sessions_app_apikey SET revoked_at = now()")
        await again.to_close()
        assert again.frames == []
    reply = await client.ask("GET", f"/sessions/{session_id}/events", **bearer)
    assert reply.status == 401
