"""Who waits for what will not come here is told so, and waits no longer."""

from __future__ import annotations

import asyncio
import signal

from tests.host.test_recovery import LONG, SPOKEN
from tests.lab import Lab, plan
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
