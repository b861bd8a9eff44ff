"""A message for a session that is at work: refused, queued, joined, or taking its place."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp

from tests.gates import Gate, Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client, Stream, eventually


@asynccontextmanager
async def working(
    client: Client, gates: Gates, after: str = "The end.", **more: object
) -> AsyncIterator[tuple[Stream, Gate]]:
    """A run that waits at a gate."""
    message = plan({"text": "At work. ", "tools": [call("gate", port=gates.port)]}, {"text": after})
    async with client.stream(message, **more) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        yield stream, gate


async def texts(client: Client, session_id: str) -> list[str]:
    """What users and model have said, in order."""
    return [message["text"] for message in (await client.detail(session_id))["messages"]]


@requirement("runs.busy-reject", "runs.one-live-run")
async def test_a_busy_session_refuses_before_anything_is_written(
    client: Client, elsewhere: Client, lab: Lab, gates: Gates
) -> None:
    async with working(client, gates) as (stream, gate):
        for reader in (client, elsewhere):
            for mode in (None, "reject"):
                body = reader.body("Me too", stream.session_id, onBusy=mode)
                reply = await reader.post("/chat/stream", body)
                assert (reply.status, reply.code) == (409, "session_busy")
        rows = "SELECT count(*) FROM sessions_app_run WHERE session_id = %s"
        assert lab.query(rows, stream.session_id) == [(1,)]
        assert len(await texts(client, stream.session_id)) == 2
        gate.open()
        await stream.to_end()


@requirement("runs.one-live-run")
async def test_of_many_messages_at_once_one_gets_the_session(
    client: Client, elsewhere: Client
) -> None:
    session_id = (await client.talk("Hello")).session_id
    slow = plan({"deltas": 20, "rate": 40})
    replies = await asyncio.gather(
        *(reader.post("/chat", reader.body(slow, session_id)) for reader in (client, elsewhere) * 4)
    )
    statuses = sorted(reply.status for reply in replies)
    assert statuses == [200] + [409] * 7


@requirement("runs.busy-enqueue", "http.state")
async def test_messages_queue_in_order_and_are_visible(
    client: Client, elsewhere: Client, gates: Gates
) -> None:
    async with working(client, gates) as (stream, gate):
        session_id = stream.session_id
        queued = []
        for place, word in enumerate(("one", "two", "three"), start=1):
            reader = (client, elsewhere)[place % 2]
            body = reader.stream(f"Number {word}", session_id, onBusy="enqueue")
            waiting = await body.__aenter__()
            first = await waiting.event("init")
            assert (first.id, first.data["queued"]) == (None, place)
            queued.append((body, waiting))
        state = await elsewhere.get(f"/sessions/{session_id}/state")
        assert [item["text"] for item in state["queue"]] == [
            "Number one", "Number two", "Number three",
        ]  # fmt: skip
        assert [item["place"] for item in state["queue"]] == [1, 2, 3]
        gate.open()
        await stream.to_end()
        for body, waiting in queued:
            await waiting.to_end()
            assert waiting.reason == "model_stop"
            inits = waiting.all("init")
            assert [frame.data["runId"] for frame in inits] == [inits[0].data["runId"]] * 2
            assert "queued" not in inits[1].data
            await body.__aexit__(None, None, None)
    said = [t for t in await texts(client, session_id) if t.startswith("Number")]
    assert said == ["Number one", "Number two", "Number three"]
    assert (await client.get(f"/sessions/{session_id}/state"))["queue"] == []


@requirement("runs.busy-enqueue")
async def test_twenty_may_wait_and_no_more(client: Client, lab: Lab, gates: Gates) -> None:
    async with working(client, gates) as (stream, gate):
        body = client.body("Me too", stream.session_id, onBusy="enqueue")
        streams = []
        for _ in range(20):
            response = await client.http.post(client.url + "/chat/stream", json=body)
            assert response.status == 200
            streams.append(response)
        reply = await client.post("/chat/stream", body)
        assert (reply.status, reply.code) == (429, "queue_full")
        assert int(reply.headers["Retry-After"]) > 0
        rows = "SELECT count(*) FROM sessions_app_run WHERE session_id = %s"
        assert lab.query(rows, stream.session_id) == [(21,)]
        for response in streams:
            response.close()
        gate.open()
        await stream.to_end()
    done = "SELECT count(*) FROM sessions_app_run WHERE session_id = %s AND status = 'done'"

    async def all_done() -> bool:
        return lab.query(done, stream.session_id) == [(21,)]

    await eventually(all_done)


@requirement("runs.busy-enqueue", "http.state")
async def test_a_queue_survives_its_process(
    victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    async with working(doomed, gates) as (stream, gate):
        session_id = stream.session_id
        for word in ("one", "two"):
            body = doomed.body(f"Number {word}", session_id, onBusy="enqueue")
            response = await doomed.http.post(doomed.url + "/chat/stream", json=body)
            await response.content.readany()
            response.close()
        victim.kill()
        await gate.left()
    state = await survivor.get(f"/sessions/{session_id}/state")
    assert [item["text"] for item in state["queue"]] == ["Number one", "Number two"]
    async with survivor.follow(session_id) as log:
        await log.until(lambda log: log.events.count("done") == 3, 30)
    inits = [frame.data["message"]["text"] for frame in log.all("init")]
    assert inits[1:] == ["Number one", "Number two"]


@requirement("runs.busy-enqueue", "runs.busy-reject")
async def test_no_message_overtakes_a_queue_that_nobody_has_started(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession, gates: Gates
) -> None:
    lab = lone_lab(RUN_HEARTBEAT_SECONDS="300", RUN_LEASE_SECONDS="600")  # no beat finds it first
    servers = [lab.start() for _ in range(2)]
    for server in servers:
        await asyncio.to_thread(server.wait_ready)
    leaving, client = (Client(http, server.url) for server in servers)

    async def is_leaving() -> bool:
        try:
            return (await leaving.post("/chat", leaving.body("Still there?"))).status == 503
        except aiohttp.ClientError:
            return True

    async with working(leaving, gates) as (stream, gate):
        session_id = stream.session_id
        async with client.stream("I have waited", session_id, onBusy="enqueue") as waiting:
            await waiting.event("init")
            servers[0].process.send_signal(signal.SIGTERM)
            await eventually(is_leaving)
            gate.open()
            await stream.to_end()
            eager = await client.post("/chat", client.body("Me first", session_id))
            assert (eager.status, eager.code) == (409, "session_busy")
            await waiting.to_end()
    assert waiting.reason == "model_stop"
    said = [m["text"] for m in (await client.detail(session_id))["messages"] if m["type"] == "user"]
    assert said[1:] == ["I have waited"]


@requirement("runs.busy-interrupt", "runs.interrupt-text")
async def test_a_message_may_stop_the_run_and_go_before_the_queue(
    client: Client, elsewhere: Client, gates: Gates
) -> None:
    async with working(client, gates) as (stream, gate):
        session_id = stream.session_id
        body = client.body("I can wait", session_id, onBusy="enqueue")
        waiting = await client.http.post(client.url + "/chat/stream", json=body)
        assert waiting.status == 200
        urgent = await elsewhere.talk("Now!", session_id, onBusy="interrupt")
        await stream.to_end()
        await gate.left()
        waiting.close()
    assert stream.reason == "user_abort"
    assert urgent.reason == "model_stop"
    assert urgent.frames[0].data["message"]["text"] == "Now!"
    async with client.follow(session_id) as log:
        await log.until(lambda log: log.events.count("done") == 3)
    said = [t for t in await texts(client, session_id) if not t.startswith("The quick")]
    assert said[1:] == ["At work. ", "Now!", "I can wait"]


@requirement("runs.busy-rollback")
async def test_a_message_may_undo_the_run(client: Client, elsewhere: Client, gates: Gates) -> None:
    before = await client.talk(plan({"text": "Kept."}, say="Keep this"))
    async with working(client, gates, session_id=before.session_id) as (stream, gate):
        instead = await elsewhere.talk(
            plan({"text": "Instead."}, say="Rather this"), stream.session_id, onBusy="rollback"
        )
        await stream.to_end()
        await gate.left()
    assert stream.reason == "user_abort"
    removed = stream.all("messages_removed")[0].data
    assert removed["runId"] == stream.run_id
    assert stream.frames[0].data["message"]["id"] in removed["messageIds"]
    assert instead.reason == "model_stop"
    detail = await client.detail(before.session_id)
    assert [m["text"].split(" @@")[0] for m in detail["messages"]] == [
        "Keep this", "Kept.", "Rather this", "Instead.",
    ]  # fmt: skip
    assert detail["message_count"] == 4


@requirement("runs.busy-steer")
async def test_a_message_may_join_the_run(
    client: Client, elsewhere: Client, lab: Lab, gates: Gates
) -> None:
    async with working(client, gates) as (stream, gate):
        word = "rather-in-green"

        async def heard() -> bool:
            """The message waits, and the run has taken the word of it."""
            waits = "SELECT 1 FROM sessions_app_run WHERE session_id = %s AND steering"
            left = "SELECT 1 FROM sessions_app_signal WHERE run_id = %s"
            return bool(lab.query(waits, stream.session_id)) and not lab.query(left, stream.run_id)

        body = elsewhere.stream(word, stream.session_id, onBusy="steer")
        async with body as joining:
            await eventually(heard)
            gate.open("through")
            await joining.to_end()
        await stream.to_end()
    for each in (stream, joining):
        assert each.all("user_message")[0].data["message"]["text"] == word
        assert each.reason == "model_stop"
        assert each.frames[-1].data["runId"] == stream.run_id
    asked = json.dumps(lab.fake.requests(word)[0].body)
    assert asked.index("through") < asked.index(word)
    kinds = [m["type"] for m in (await client.detail(stream.session_id))["messages"]]
    assert kinds == ["user", "assistant_text", "user", "assistant_text"]


@requirement("runs.busy-steer")
async def test_a_message_that_comes_too_late_to_join_is_a_run_of_its_own(
    client: Client, gates: Gates
) -> None:
    agent = client.of("steering")
    async with working(agent, gates) as (stream, gate):
        session_id = stream.session_id
        await agent.post(f"/sessions/{session_id}/interrupt", {})
        late = await agent.talk("Too late?", session_id)
        await stream.to_end()
        await gate.left()
    assert late.reason == "model_stop"
    said = [m["text"] for m in (await agent.detail(session_id))["messages"] if m["type"] == "user"]
    assert said[-1] == "Too late?"


@requirement("http.idempotency")
async def test_one_key_and_body_is_one_run(client: Client, elsewhere: Client, lab: Lab) -> None:
    body = client.body(plan({"text": "Once."}, say="only-once"))
    headers = {"idempotency_key": "key of test one"}
    replies = await asyncio.gather(
        *(reader.post("/chat", body, **headers) for reader in (client, elsewhere) * 4)
    )
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["runId"] for reply in replies}) == 1
    assert {reply.json["response"] for reply in replies} == {"Once."}
    assert len([r for r in lab.fake.requests("only-once") if r.vendor == "anthropic"]) == 1
    streamed = await client.post("/chat/stream", body, **headers)
    assert streamed.raw.startswith(b"id: 1\nevent: init\n")
    assert b"event: done\n" in streamed.raw
    other = await client.post("/chat", client.body("Something else"), **headers)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    foreign = await client.post("/chat", client.body("x", scope_id="another"), **headers)
    assert foreign.status == 200


@requirement("http.idempotency")
async def test_one_key_is_one_run_in_a_session_that_exists(
    client: Client, elsewhere: Client
) -> None:
    session_id = (await client.talk("Hello")).session_id
    body = client.body(plan({"deltas": 10, "rate": 50}), session_id)
    replies = await asyncio.gather(
        *(
            reader.post("/chat", body, idempotency_key="key of test two")
            for reader in (client, elsewhere) * 4
        )
    )
    assert [(reply.status, reply.raw[:80]) for reply in replies if reply.status != 200] == []
    assert len({reply.json["runId"] for reply in replies}) == 1


@requirement("http.idempotency", "runs.busy-enqueue")
async def test_a_repeated_message_waits_in_the_queue_once(
    client: Client, lab: Lab, gates: Gates
) -> None:
    async with working(client, gates) as (stream, gate):
        body = client.body("Queue me once", stream.session_id, onBusy="enqueue")
        key = {"idempotency_key": "key of test three"}
        asking = [asyncio.create_task(client.post("/chat", body, **key)) for _ in range(3)]
        waiting = (
            "SELECT count(*) FROM sessions_app_run WHERE session_id = %s AND status = 'queued'"
        )

        async def has_queued() -> bool:
            return lab.query(waiting, stream.session_id) == [(1,)]

        await eventually(has_queued)
        gate.open()
        await stream.to_end()
        replies = await asyncio.gather(*asking)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["runId"] for reply in replies}) == 1
    assert (await texts(client, stream.session_id)).count("Queue me once") == 1


@requirement("runs.room")
async def test_a_full_process_refuses_before_anything_is_written(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession, gates: Gates
) -> None:
    lab = lone_lab(MAX_LIVE_RUNS="4")
    server = await asyncio.to_thread(lab.start().wait_ready)
    client = Client(http, server.url)
    message = plan({"tools": [call("gate", port=gates.port)]}, {})

    async def start(scope: str) -> asyncio.Task[Stream]:
        task = asyncio.create_task(client.talk(message, scope_id=scope))
        await gates.next()
        return task

    running = [await start("greedy") for _ in range(3)]
    reply = await client.post("/chat", client.body("x", scope_id="greedy"))
    assert (reply.status, reply.code) == (429, "too_many_runs")
    assert int(reply.headers["Retry-After"]) > 0
    running.append(await start("modest"))
    for scope in ("greedy", "modest", "new"):
        reply = await client.post("/chat", client.body("x", scope_id=scope))
        assert (reply.status, reply.code) == (429, "too_many_runs")
    assert lab.query("SELECT count(*) FROM sessions_app_session") == [(4,)]
    assert (await client.get("/health"))["live_runs"] == 4
    await gates.shut()
    await asyncio.gather(*running)
    assert (await client.post("/chat", client.body("x", scope_id="greedy"))).status == 200


@requirement("http.chat-parked", "runs.busy-enqueue")
async def test_an_answer_behind_a_parked_run_waits_for_no_person(
    client: Client, gates: Gates
) -> None:
    tools = [call("gate", port=gates.port)]
    message = plan({"tools": tools}, {"text": "May I? ", "tools": [call("wipe")]}, {})
    async with client.stream(message) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        body = client.body("And then this", stream.session_id, onBusy="enqueue")
        behind = asyncio.create_task(client.post("/chat", body))
        state = f"/sessions/{stream.session_id}/state"
        await eventually(lambda: has_queue(client, state))
        gate.open()
        reply = await behind
        assert reply.status == 200
        assert reply.json["reason"] == "awaiting_confirmation"
        assert reply.json["response"] == ""
        assert reply.json["runId"] != stream.run_id
        pending = (await client.detail(stream.session_id))["pendingInteractions"]
        assert reply.json["pendingInteractions"] == pending != []
        await client.answer(stream.session_id, approved=True)
        await stream.to_end()
    async with client.follow(stream.session_id) as log:
        await log.until(lambda log: log.events.count("done") == 2)
    again = await client.say(None, stream.session_id)
    assert again["runId"] == reply.json["runId"]
    assert again["reason"] == "model_stop"


async def has_queue(client: Client, address: str) -> bool:
    return bool((await client.get(address))["queue"])
