"""Runs change hands: what their calls come to, what their time counts, who hears the words."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp

from agentsite.engine.events import TitleChanged
from agentsite.host.recovery import UNKNOWN
from agentsite.host.session_views import MAX_EVENTS
from tests.folding import assert_folds
from tests.gates import Gates
from tests.host.test_busy import working
from tests.host.test_dispatch import dispatch
from tests.host.test_recovery import count_attempts, read_to_done
from tests.lab import Lab, call, plan
from tests.processes import within
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import Client, eventually

GRACE = 2.0
"""Seconds that the victim's runs have; see its fixture."""
KILL_AFTER = 3.0
"""Seconds after the grace: twice what the supervisor gives, and less than tools are waited for."""


@requirement("runs.hand-over", "runs.unknown-outcome", "runs.repeat-safe", "runs.dispatch-resume")
async def test_calls_that_outlive_the_grace_are_handed_over_with_their_run(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    names = ("gate", "gate_safe", "gate_twice")
    tools = [call(name, port=gates.port, note=name) for name in names]
    inner = call("gate_safe", port=gates.port, note="of a sub-agent")
    tools.append(dispatch({"tools": [inner]}, {"text": "Looked."}))
    async with doomed.stream(plan({"tools": tools}, {"text": "I see."})) as stream:
        waiting = [await gates.next() for _ in tools]
        await stream.event("tool_call_start", len(tools))
        victim.process.send_signal(signal.SIGTERM)
        for gate in waiting:
            await gate.left()
        await stream.to_close()
    assert await asyncio.to_thread(victim.process.wait, 30) == 0
    again = [await gates.next() for _ in tools[1:]]
    assert {gate.note for gate in again} == {"gate_safe", "gate_twice", "of a sub-agent"}
    for gate in again:
        gate.open("again")
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.reason == "model_stop"
    detail = await assert_folds(survivor, crash_lab, stream.session_id)
    results = [each["result"] for each in detail["messages"][1]["toolCalls"]]
    assert results == [UNKNOWN, "again", "again", "Looked."]
    marked = "SELECT name FROM sessions_app_toolcall WHERE run_id = %s AND outcome_unknown"
    assert crash_lab.query(marked, stream.run_id) == [("gate",)]
    assert count_attempts(crash_lab, stream.run_id) == (2, 0)


@requirement("runs.hand-over")
async def test_a_tool_that_does_not_let_go_keeps_no_lease(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    """The supervisor kills; what was handed over by then is no loss."""
    tools = [call("stubborn", port=gates.port, note="x")]
    async with doomed.stream(plan({"tools": tools}, {"text": "Well."})) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        victim.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(victim.process.wait, GRACE + KILL_AFTER)
        except subprocess.TimeoutExpired:
            victim.kill()
        await gate.left()
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.all("tool_call_result")[-1].data["result"] == UNKNOWN
    assert count_attempts(crash_lab, stream.run_id) == (2, 0)


@requirement("runs.unknown-outcome", "runs.lost-calls")
async def test_a_call_whose_turn_had_not_come_is_surely_not_started(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    tools = [call("gate_alone", port=gates.port, note="first")]
    tools.append(call("gate", port=gates.port, note="behind it"))
    async with doomed.stream(plan({"tools": tools}, {"text": "I see."})) as stream:
        first = await gates.next()
        await stream.event("tool_call_start")
        victim.kill()
        await first.left()
    second = await gates.next()
    assert second.note == "behind it"
    second.open("made")
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.reason == "model_stop"
    detail = await assert_folds(survivor, crash_lab, stream.session_id)
    results = [each["result"] for each in detail["messages"][1]["toolCalls"]]
    assert results == [UNKNOWN, "made"]


AN_HOUR_AGO = (
    "UPDATE sessions_app_run SET created_at = created_at - interval '1 hour',"
    " lease_until = lease_until - interval '1 hour' WHERE id = %s"
)


@requirement("runs.run-timeout")
async def test_time_in_the_queue_is_no_running_time(client: Client, lab: Lab, gates: Gates) -> None:
    hurried = client.of("hurried")
    async with working(hurried, gates) as (stream, _):
        body = hurried.body("Next, please.", stream.session_id, onBusy="enqueue")
        waiting = asyncio.create_task(client.post("/chat/stream", body))
        rows = "SELECT id FROM sessions_app_run WHERE session_id = %s AND status = 'queued'"

        async def queued() -> bool:
            return bool(lab.query(rows, stream.session_id))

        await eventually(queued)
        ((run_id,),) = lab.query(rows, stream.session_id)
        assert lab.change(AN_HOUR_AGO, run_id) == 1
        await stream.to_end()  # its own time is soon over
        await waiting
    ends = "SELECT reason FROM sessions_app_run WHERE id = %s"
    assert lab.query(ends, run_id) == [("model_stop",)]


@requirement("runs.run-timeout", "runs.take-over")
async def test_time_without_any_process_is_no_running_time(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    tools = [call("gate_twice", port=gates.port, note="x")]
    async with doomed.stream(plan({"tools": tools}, {"text": "Still here."})) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        victim.kill()
        assert crash_lab.change(AN_HOUR_AGO, stream.run_id) == 1
        await gate.left()
    (await gates.next()).open()
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.reason == "model_stop", rest.all("error")


@requirement("runs.busy-steer", "runs.take-over")
async def test_a_message_that_was_to_join_a_lost_attempt_joins_the_next(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    tools = [call("gate_twice", port=gates.port, note="x")]
    async with AsyncExitStack() as stack:
        stream = await stack.enter_async_context(
            doomed.stream(plan({"tools": tools}, {"text": "The end."}))
        )
        gate = await gates.next()
        await stream.event("tool_call_start")
        joining = survivor.stream("In green.", stream.session_id, onBusy="steer")
        joined = await stack.enter_async_context(joining)
        words = (
            "SELECT count(*) FROM sessions_app_signal WHERE run_id = %s UNION ALL SELECT count(*)"
            " FROM sessions_app_run WHERE session_id = %s AND status = 'queued'"
        )

        async def heard() -> bool:
            return crash_lab.query(words, stream.run_id, stream.session_id) == [(0,), (1,)]

        await eventually(heard)
        victim.kill()
        await gate.left()
        (await gates.next()).open()
        await joined.to_end()
    assert joined.all("user_message")[0].data["message"]["text"] == "In green."
    assert joined.frames[-1].data["runId"] == stream.run_id


@requirement("runs.take-over")
async def test_orphans_beyond_one_batch_do_not_wait_for_the_next_heartbeat(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession, gates: Gates
) -> None:
    # Three beats in all where the database has just been started: it is given time first.
    beat, orphans = 10, 25
    lab = lone_lab(RUN_HEARTBEAT_SECONDS=str(beat), RUN_LEASE_SECONDS="11")
    servers = [lab.start() for _ in range(2)]
    for server in servers:
        await asyncio.to_thread(server.wait_ready)
    message = plan({"tools": [call("gate_twice", port=gates.port, note="x")]}, {"text": "Yes."})
    async with AsyncExitStack() as stack:
        for _ in range(orphans):
            await stack.enter_async_context(Client(http, servers[0].url).stream(message))
        for _ in range(orphans):
            await gates.next()
        servers[0].kill()
        lab.change("UPDATE sessions_app_run SET lease_until = now()")
        (await gates.next()).open()
        first = time.monotonic()
        for _ in range(orphans - 1):
            (await gates.next()).open()
        assert time.monotonic() - first < beat
    done = "SELECT count(*) FROM sessions_app_run WHERE reason = 'model_stop' AND attempt = 2"
    assert await asyncio.to_thread(within, 20, lambda: lab.query(done) == [(orphans,)])


@requirement("runs.interrupt-text")
async def test_a_wish_to_stop_whose_word_was_lost_is_heard_with_a_heartbeat(
    client: Client, lab: Lab, gates: Gates
) -> None:
    async with working(client, gates) as (stream, gate):
        wish = "UPDATE sessions_app_run SET cancel_requested_at = now() WHERE id = %s"
        assert lab.change(wish, stream.run_id) == 1
        await gate.left()
        await stream.to_end()
    assert stream.reason == "user_abort"


@requirement("runs.poison", "runs.take-over")
async def test_a_run_that_the_database_keeps_from_being_loaded_is_given_up(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession, gates: Gates
) -> None:
    lab = lone_lab(RUN_LEASE_SECONDS="2")
    servers = [lab.start() for _ in range(2)]
    for server in servers:
        await asyncio.to_thread(server.wait_ready)
    clients = [Client(http, server.url) for server in servers]
    message = plan({"tools": [call("gate", port=gates.port)]}, {"text": "Never."})
    async with clients[0].stream(message) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        lab.change(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no numbers'; END $$"
        )
        lab.change(
            "CREATE TRIGGER refuse BEFORE UPDATE ON sessions_app_session FOR EACH ROW"
            " WHEN (NEW.reserved_seq > OLD.reserved_seq + 1000) EXECUTE FUNCTION refuse()"
        )
        servers[0].kill()
        await gate.left()
    rest = await read_to_done(clients[1], stream.session_id, stream.last_id)
    assert rest.all("error")[-1].data["code"] == "poisoned"
    await assert_folds(clients[1], lab, stream.session_id)


@requirement("runs.loop", "admin.alerts")
async def test_operators_are_told_of_a_run_that_repeats_itself(client: Client, lab: Lab) -> None:
    turns = [{"tools": [call("gate", note="same")]} for _ in range(8)]
    stream = await client.talk(plan(*turns, {"text": "At last."}))
    assert any("8 times" in frame.data["message"] for frame in stream.all("notice"))
    alerts = "SELECT level FROM operations_alert WHERE kind = 'repeats' AND details->>'run' = %s"

    async def told() -> bool:
        return lab.query(alerts, stream.run_id) == [("warning",)]

    await eventually(told)


@requirement("http.state")
async def test_a_state_that_is_cut_says_where_to_go_on(client: Client, lab: Lab) -> None:
    session_id = (await client.talk("Hello")).session_id

    async def titled() -> bool:  # the last that comes by itself
        return any(isinstance(each.event, TitleChanged) for each in lab.entries(session_id))

    await eventually(titled)
    last = lab.entries(session_id)[-1].seq
    newest = last + MAX_EVENTS + 200
    lab.change(
        "INSERT INTO sessions_app_eventbatch"
        " (session_id, attempt, scope_id, first_seq, last_seq, entries)"
        " SELECT session_id, 0, scope_id, n, n, convert_to(regexp_replace("
        "  convert_from(entries, 'UTF8'), '[0-9]+', n::text), 'UTF8')"
        " FROM sessions_app_eventbatch, generate_series(%s::bigint, %s::bigint) n"
        " WHERE session_id = %s AND last_seq = %s",
        last + 1, newest, session_id, last,
    )  # fmt: skip
    state = await client.get(f"/sessions/{session_id}/state")
    assert state["lastSeq"] == state["events"][-1]["id"] < newest
    rest = await client.get(f"/sessions/{session_id}/state?since={state['lastSeq']}")
    assert rest["lastSeq"] == rest["events"][-1]["id"] == newest
