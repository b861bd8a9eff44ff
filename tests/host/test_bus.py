"""The event bus: what changes anywhere, in order, without gap or double, for its own scope."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp

from tests.host.bus_client import Listening, listen
from tests.lab import ANTHROPIC, OPENAI, Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import BOUND, Client

LISTENERS = 40
"""Far more than the pool has connections."""


def new_scope() -> str:
    return f"bus-{uuid.uuid4().hex[:12]}"


@requirement("http.bus", "http.bus-catalogue")
async def test_a_conversation_is_told_from_beginning_to_end(client: Client) -> None:
    scope = new_scope()
    async with listen(client, scope) as seen:
        first = await client.talk("Hello", scope_id=scope)
        await seen.event("session_updated", 2)  # the run's end, and the title
        await client.talk("Again", first.session_id, scope_id=scope)
        await seen.event("run_finished", 2)
        path = f"/sessions/{first.session_id}?scope_id={scope}"
        await client.ask("PATCH", path, {"title": "Mine"})
        await seen.until(lambda seen: any(f.data.get("title") == "Mine" for f in seen.frames))
        await client.ask("DELETE", path)
        gone = await seen.event("session_deleted")
    assert gone["sessionId"] == first.session_id
    assert (gone["scope_id"], gone["appId"]) == (scope, "plain")
    created = next(f.data for f in seen.frames if f.event == "session_created")
    assert created["status"] == "running"
    finished = next(f.data for f in seen.frames if f.event == "run_finished")
    assert (finished["runId"], finished["reason"]) == (first.run_id, "model_stop")
    own = [f.event for f in seen.frames if f.data.get("scope_id") == scope]
    assert own[:2] == ["session_created", "run_started"]
    numbers = [frame.data["seq"] for frame in seen.frames]
    assert numbers == sorted(set(numbers[1:]) | {numbers[0]})


@requirement("http.bus-catalogue")
async def test_a_question_is_told_when_it_opens_and_when_it_closes(client: Client) -> None:
    scope = new_scope()
    async with listen(client, scope) as seen:
        asked = await client.say(plan({"tools": [call("wipe")]}, {}), scope_id=scope)
        opened = await seen.event("interaction_opened")
        reply = await client.post(
            f"/ask-user-response?scope_id={scope}",
            {"sessionId": asked["sessionId"], "approved": False},
        )
        assert reply.status == 200, reply.raw
        closed = await seen.event("interaction_closed")
        await seen.event("run_finished")
    assert opened["kind"] == "confirmation"
    assert closed["interactionId"] == opened["interactionId"]
    assert closed["status"] == "denied"
    updated = [f.data for f in seen.frames if f.event == "session_updated"]
    statuses = [data["status"] for data in updated if "status" in data]
    assert statuses == ["waiting", "running", "active"]


@requirement("scope.bus")
async def test_a_scope_hears_of_itself_alone(client: Client) -> None:
    mine, foreign = new_scope(), new_scope()
    async with listen(client, mine) as seen, listen(client, "") as empty:
        for scope in (foreign, mine, None, foreign):
            await client.say("Hello", **({} if scope is None else {"scope_id": scope}))
        await seen.event("run_finished")
        await empty.event("run_finished")
    assert {f.data.get("scope_id") for f in seen.frames[1:]} <= {mine, None}
    # Other tests use the empty scope, too.
    assert {f.data.get("scope_id") for f in empty.frames[1:]} <= {"", None}


@requirement("http.bus-resume")
async def test_every_cut_resumed_equals_the_whole(client: Client, elsewhere: Client) -> None:
    scope = new_scope()
    async with listen(client, scope) as whole:
        start = whole.frames[0].id
        await asyncio.gather(*(client.say("Hello", scope_id=scope) for _ in range(6)))
        await whole.event("run_finished", 6)
        async with asyncio.timeout(15):
            await whole.until(lambda seen: seen.names.count("session_updated") >= 12)
    for place in range(len(whole.told)):
        after = start if place == 0 else whole.told[place - 1][0]
        left = whole.told[place:]
        async with listen(elsewhere, scope, after) as again:
            await again.until(lambda seen, left=left: len(seen.told) >= len(left))
        assert again.told[: len(left)] == left


@requirement("http.bus")
async def test_another_process_tells_it_too(client: Client, elsewhere: Client) -> None:
    scope = new_scope()
    async with listen(elsewhere, scope) as seen:
        await client.say("Hello", scope_id=scope)
        await seen.event("run_finished")


@requirement("runs.no-connection")
async def test_listeners_hold_no_connection(client: Client) -> None:
    scope = new_scope()
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(listen(client, scope)) for _ in range(LISTENERS)]
        await client.say("Hello", scope_id=scope)
        for seen in opened:
            await seen.event("run_finished")
        await client.get("/ready")  # there is still one to be had


@requirement("http.bus-slow")
async def test_a_slow_reader_misses_nothing(client: Client, lab: Lab) -> None:
    scope = new_scope()
    async with listen(client, scope) as seen:
        lab.change(
            "INSERT INTO bus_busevent (audience, agent, scope_id, type, data)"
            " SELECT 'scope', 'plain', %s, 'store_updated', json_build_object('type',"
            " 'store_updated', 'storeName', repeat('x', 2000), 'operation', 'put', 'count', n)"
            " FROM generate_series(1, 3000) n",
            scope,
        )
        await seen.event("store_updated", 3000)
    counts = [f.data["count"] for f in seen.frames if f.event == "store_updated"]
    assert counts == list(range(1, 3001))


@requirement("http.bus-resume")
async def test_who_was_away_too_long_is_told_so(client: Client) -> None:
    async with listen(client, new_scope(), after=10**9) as seen:
        pass
    assert seen.names == ["stream-reset"]
    reply = await client.ask("GET", "/api/events", Last_Event_ID="x")
    assert (reply.status, reply.code) == (400, "invalid_field")


async def test_a_quiet_stream_is_kept_alive(client: Client) -> None:
    async with listen(client, new_scope()) as seen:
        await seen.until(lambda seen: seen.keepalives >= 2)


@requirement("http.bus")
async def test_what_is_not_committed_is_not_told(client: Client, lab: Lab) -> None:
    """An event whose transaction ends late comes late, and nothing behind it is lost."""
    scope = new_scope()
    insert = (
        "INSERT INTO bus_busevent (audience, agent, scope_id, type, data)"
        " VALUES ('scope', 'plain', %s, 'store_updated', %s)"
    )
    async with listen(client, scope) as seen:
        with lab.rows.transaction():
            lab.change(insert, scope, '{"type":"store_updated","storeName":"slow"}')
            await client.say("Hello", scope_id=scope)
            await seen.event("run_finished")
        late = await seen.event("store_updated")
    assert late["storeName"] == "slow"
    numbers = [frame.data["seq"] for frame in seen.frames[1:]]
    assert numbers == sorted(numbers)


@requirement("http.bus")
async def test_an_agent_that_changes_is_told_to_everybody(client: Client, lab: Lab) -> None:
    manifest = lab.agents / "few-turns" / "amodal.json"
    whole = manifest.read_text()

    def has(seen: Listening, version: str) -> bool:
        told = [f.data for f in seen.frames if f.event == "manifest_changed"]
        return bool(told) and (told[-1]["appId"], told[-1]["version"]) == ("few-turns", version)

    async with listen(client, new_scope()) as seen:
        manifest.write_text(whole.replace('"1.0.0"', '"1.0.1"'))
        try:
            await seen.until(lambda seen: has(seen, "1.0.1"))
        finally:
            manifest.write_text(whole)
        await seen.until(lambda seen: has(seen, "1.0.0"))


async def test_streams_end_when_the_server_stops(client: Client, lab: Lab) -> None:
    server = lab.start().wait_ready()
    own = Client(client.http, server.url)
    async with listen(own, new_scope()) as seen:
        await asyncio.to_thread(server.stop)
        async with asyncio.timeout(BOUND):
            await seen.response.content.read()


@requirement("scope.bus")
async def test_staff_hear_of_files_that_tools_write(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab()
    (lab.agents / "author").mkdir()
    models = {"main": ANTHROPIC, "simple": OPENAI}
    config = {"name": "author", "version": "1.0.0", "models": models, "fileTools": True}
    (lab.agents / "author" / "amodal.json").write_text(json.dumps(config))
    client = Client(http, lab.start().wait_ready().url, "author")
    path = "knowledge/returns.md"
    turns = [
        {"tools": [call("write_repo_file", path=path, content="Two days.")]},
        {"tools": [call("read_repo_file", path=path)]},
        {"tools": [call("delete_repo_file", path=path)]},
    ]
    await client.talk(plan(*turns, {"text": "Done."}), scope_id="mine")
    rows = lab.query(
        "SELECT audience, agent, scope_id, data::jsonb->>'path' FROM bus_busevent"
        " WHERE type = 'files_changed'"
    )
    assert rows == [("staff", "author", "", path)] * 2
