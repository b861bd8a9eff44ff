"""Wherever a stream is cut, what comes after is what would have come."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client, Stream, cut_frames

AT_ONCE = 16


async def read_suffix(client: Client, session_id: str, after: int, size: int) -> bytes:
    """So many bytes of a session's events behind a number."""
    async with client.follow(session_id, after) as stream:
        await stream.until(lambda stream: len(stream.raw) >= size)
        return stream.raw  # type: ignore[no-any-return]  # the bytes of a Stream


async def converse(client: Client, gates: Gates) -> str:
    """A session with everything in it that makes events; its id."""
    gates.auto = "through"
    tools = [
        call("gate", port=gates.port, note="a", chatty=True),
        call("present", widget="metric", data={"label": "Wärme", "value": 21}),
        call("fail"),
    ]
    first = await client.talk(plan({"text": "I look. " * 20, "tools": tools}, {"deltas": 90}))
    session_id = first.session_id
    failing = plan({"text": "Half a", "error": {"status": 400}, "error_event_after": 1})
    assert (await client.talk(failing, session_id)).reason == "error"
    asked = await client.say(plan({"tools": [call("wipe", note="disk")]}), session_id)
    assert asked["reason"] == "awaiting_confirmation"
    assert (await client.answer(session_id, approved=False)).status == 200
    async with client.follow(session_id) as stream:
        await stream.until(lambda stream: stream.events.count("done") == 3)
    await client.talk(plan({"deltas": 120, "chars": 3}), session_id)
    return session_id


async def read_whole(client: Client, lab: Lab, session_id: str) -> Stream:
    """All events that a session has."""
    last = lab.entries(session_id)[-1].seq
    async with client.follow(session_id) as stream:
        return await stream.until(lambda s: s.last_id >= last)  # type: ignore[no-any-return]


async def wait_for_title(client: Client, session_id: str) -> None:
    async with client.follow(session_id) as stream:
        await stream.event("title_changed")


@requirement("runs.resume", "http.follow", "runs.numbers")
async def test_any_cut_resumed_equals_the_uncut_stream(
    client: Client, elsewhere: Client, lab: Lab, gates: Gates, request: pytest.FixtureRequest
) -> None:
    session_id = await converse(client, gates)
    await wait_for_title(client, session_id)
    whole = await read_whole(client, lab, session_id)
    assert [frame.id for frame in whole.frames] == list(range(1, len(whole.frames) + 1))
    places = len(whole.frames)
    ends = [0]
    for frame in whole.frames:
        ends.append(ends[-1] + len(frame.raw))
    chance = random.Random(1)
    cuts = [chance.randrange(places) for _ in range(request.config.getoption("--cuts", 300))]
    several = asyncio.Semaphore(AT_ONCE)

    async def check(place: int, reader: Client) -> None:
        async with several:
            rest = await read_suffix(reader, session_id, place, len(whole.raw) - ends[place])
        assert whole.raw[: ends[place]] + rest == whole.raw, place

    await asyncio.gather(
        *(check(place, (client, elsewhere)[n % 2]) for n, place in enumerate(cuts))
    )


@requirement("runs.resume")
async def test_viewers_who_join_a_live_run_anywhere_see_the_same(
    client: Client, elsewhere: Client, gates: Gates
) -> None:
    message = plan(
        {
            "text": "Before the gate. ",
            "chars": 2,
            "rate": 300,
            "tools": [call("gate", port=gates.port)],
        },
        {"text": "And after it.", "chars": 2, "rate": 300},
    )
    async with client.stream(message) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        session_id = stream.session_id
        ready = asyncio.Barrier(2 * stream.last_id + 1)

        async def view(reader: Client, after: int) -> bytes:
            async with reader.follow(session_id, after) as viewer:
                await ready.wait()
                await viewer.event("done")
                return viewer.raw  # type: ignore[no-any-return]  # the bytes of a Stream

        viewers = [
            asyncio.create_task(view(reader, after))
            for after in range(stream.last_id)
            for reader in (client, elsewhere)
        ]
        await ready.wait()
        gate.open()
        await stream.to_end()
    seen = await asyncio.gather(*viewers)
    starts = [0]
    for frame in stream.frames:
        starts.append(starts[-1] + len(frame.raw))
    for place, raw in enumerate(seen):
        assert raw.startswith(stream.raw[starts[place // 2] :]), place


@requirement("runs.resume", "http.follow")
async def test_viewers_who_come_between_two_words_miss_none(
    client: Client, elsewhere: Client
) -> None:
    async with client.stream(plan({"deltas": 80, "rate": 200})) as stream:
        await stream.until(lambda stream: stream.frames)
        viewers = []
        while "done" not in stream.events:
            reader = (client, elsewhere)[len(viewers) % 2]
            viewers.append(asyncio.create_task(view_to_done(reader, stream.session_id)))
            seen = len(stream.frames)
            await stream.until(lambda stream, seen=seen: len(stream.frames) > seen)
    assert len(viewers) > 10
    for raw in await asyncio.gather(*viewers):
        assert raw == stream.raw


async def view_to_done(client: Client, session_id: str) -> bytes:
    async with client.follow(session_id) as viewer:
        done = await viewer.event("done")
        until = viewer.frames.index(done) + 1
        return b"".join(frame.raw for frame in viewer.frames[:until])


@requirement("runs.resume", "http.follow")
async def test_the_log_outlives_the_process_that_wrote_it(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    session_id = await converse(doomed, gates)
    await wait_for_title(doomed, session_id)
    whole = await read_whole(doomed, crash_lab, session_id)
    await asyncio.to_thread(victim.stop)
    for after in (0, 7, 60):
        rest = b"".join(frame.raw for frame in whole.frames[after:])
        assert await read_suffix(survivor, session_id, after, len(rest)) == rest


@requirement("runs.numbers", "http.follow")
async def test_a_number_ahead_of_the_log_waits_for_it(client: Client, elsewhere: Client) -> None:
    stream = await client.talk("Hello")
    await wait_for_title(client, stream.session_id)
    async with client.follow(stream.session_id, stream.last_id) as log:
        last = (await log.event("title_changed")).id
    async with (
        client.follow(stream.session_id, last + 2) as here,
        elsewhere.follow(stream.session_id, last + 2) as there,
    ):
        later = await client.talk("Hello again", stream.session_id)
        for viewer in (here, there):
            await viewer.event("done")
            assert viewer.frames[0].id == last + 3
            assert viewer.raw == b"".join(frame.raw for frame in later.frames[2:])


@requirement("http.reconnect")
async def test_a_session_id_without_a_message_follows_its_newest_run(
    client: Client, elsewhere: Client, gates: Gates
) -> None:
    first = await client.talk("Hello")
    message = plan({"text": "One. ", "tools": [call("gate", port=gates.port)]}, {"text": "Two."})
    body = {"sessionId": first.session_id, "agentId": "plain"}
    async with client.stream(message, first.session_id) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        async with elsewhere.stream(None, first.session_id) as joined:
            await joined.event("tool_call_start")
            gate.open()
            await joined.to_end()
        await stream.to_end()
    assert joined.raw == stream.raw
    again = await client.post("/chat/stream", body)
    assert again.raw == stream.raw
    middle = stream.frames[2]
    rest = await client.post("/chat/stream", body, last_event_id=str(middle.id))
    assert rest.raw == b"".join(frame.raw for frame in stream.frames[3:])
    seen = await client.post("/chat/stream", body, last_event_id=str(stream.last_id))
    assert [frame.event for frame in cut_frames(seen.raw)[0]] == ["done"]
    document = await client.post("/chat/sync", body)
    assert document.json["response"] == "One. \n\nTwo."


@requirement("http.disconnect")
async def test_a_closed_connection_stops_no_run(client: Client, gates: Gates) -> None:
    message = plan({"tools": [call("gate", port=gates.port)]}, {"text": "All the same."})
    async with client.stream(message) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
    async with client.follow(stream.session_id, stream.last_id) as log:
        gate.open()
        await log.event("done")
        assert log.text == "All the same."
