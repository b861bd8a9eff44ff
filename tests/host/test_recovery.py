"""Processes that die, stop or hang: runs go on elsewhere, nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import cast

import aiohttp
import pytest

from agentsite.engine.events import Done, Failed
from agentsite.host.agents import ServedAgents
from agentsite.host.recovery import MAX_LOSSES, UNKNOWN, GivenUp, reopen
from agentsite.operations.models import Alert
from sessions_app import log
from sessions_app.actions import LeaseLost, RunRef
from sessions_app.models import Run
from tests.folding import assert_folds, assert_numbered, drop_discarded, text_of
from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.processes import within
from tests.requirements import requirement
from tests.servers import Server
from tests.sessions_app.rows import make_run, make_session
from tests.wire_client import Client, Stream

SPOKEN = {"deltas": 60, "chars": 5, "rate": 25}
"""An answer that takes its time, so that a process can die in the middle of it."""
LONG = 40.0
"""Seconds for a lease to run out and a run to go on, on a busy machine."""


async def read_to_done(client: Client, session_id: str, after: int = 0) -> Stream:
    """The session's events behind a number, to the next `done`."""
    async with client.follow(session_id, after) as log:
        return await log.until(lambda log: "done" in log.events, LONG)  # type: ignore[no-any-return]


def count_attempts(lab: Lab, run_id: str) -> tuple[int, int]:
    """Attempts of a run, and how many of them were lost."""
    rows = lab.query("SELECT attempt, losses FROM sessions_app_run WHERE id = %s", run_id)
    return (int(rows[0][0]), int(rows[0][1]))


async def assert_whole(client: Client, lab: Lab, stream: Stream, rest: Stream | None) -> None:
    """What a client has recorded has no hole and no double, and says what the session says."""
    recording = stream.frames + (rest.frames if rest is not None else [])
    assert_numbered(recording)
    kept = drop_discarded(recording)
    assert [frame.event for frame in kept].count("done") == 1
    assert kept[-1].event == "done"
    whole = await read_to_done(client, stream.session_id)
    said = text_of(whole.frames)
    assert text_of(recording) == said
    detail = await assert_folds(client, lab, stream.session_id)
    assert [m["text"] for m in detail["messages"]][1:] == [said]
    assert len(said) >= SPOKEN["deltas"] * SPOKEN["chars"]


@requirement("runs.take-over", "runs.numbers", "runs.one-done", "runs.recovery-fail")
async def test_runs_of_a_killed_process_go_on_elsewhere_or_are_ended(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client
) -> None:
    async with (
        doomed.stream(plan(SPOKEN)) as stream,
        doomed.of("fragile").stream(plan(SPOKEN)) as fragile,
    ):
        for each in (stream, fragile):
            await each.until(lambda each: len(each.all("text_delta")) >= 8)
        victim.kill()
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    (resumed,) = rest.all("run_resumed")
    assert resumed.data["attempt"] == 2
    # What was committed and had not reached us when the process died may come before it.
    early = rest.frames[: rest.frames.index(resumed)]
    assert {frame.event for frame in early} <= {"text_delta"}
    assert resumed.id is not None and resumed.id > stream.last_id
    assert all(stream.last_id < frame.id < resumed.id for frame in early)
    assert resumed.data["discardFrom"] <= stream.last_id
    await assert_whole(survivor, crash_lab, stream, rest)
    assert count_attempts(crash_lab, stream.run_id) == (2, 1)
    tail = rest.frames[len(early) :]
    rest_of_run = rest.frames[len(early) : rest.events.index("done") + 1]
    for void in (resumed.data["discardFrom"], stream.last_id, resumed.id - 1):
        behind = await read_to_done(survivor, stream.session_id, void)
        assert text_of(behind.frames[-len(tail) :]) == text_of(tail)
        ends = behind.frames.index(behind.all("done")[0]) + 1
        assert behind.frames[:ends][-len(rest_of_run) :] == rest_of_run
    ended = await read_to_done(survivor, fragile.session_id, fragile.last_id)
    assert ended.reason == "error"
    assert ended.all("error")[0].data["code"] == "interrupted"
    await assert_folds(survivor, crash_lab, fragile.session_id)


@requirement("runs.unknown-outcome", "runs.repeat-safe", "runs.one-result")
async def test_calls_under_way_are_repeated_only_where_that_is_harmless(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    names = ("gate", "gate_safe", "gate_twice")
    tools = [call(name, port=gates.port, note=name) for name in names]
    tools.append(call("gate", port=gates.port, note="done before"))
    async with doomed.stream(plan({"tools": tools}, {"text": "I see."})) as stream:
        waiting = {gate.note: gate for gate in [await gates.next() for _ in tools]}
        waiting["done before"].open("done")
        await stream.event("tool_call_result")
        victim.kill()
        for name in names:
            await waiting[name].left()
    again = [await gates.next(), await gates.next()]
    assert {gate.note for gate in again} == {"gate_safe", "gate_twice"}
    assert {gate.call for gate in again} == {waiting[n].call for n in ("gate_safe", "gate_twice")}
    for gate in again:
        gate.open("again")
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.reason == "model_stop"
    assert sorted(gates.notes) == sorted([*names, "done before", "gate_safe", "gate_twice"])
    detail = await assert_folds(survivor, crash_lab, stream.session_id)
    calls = {c["args"]["note"]: c for c in detail["messages"][1]["toolCalls"]}
    assert calls["gate"]["status"] == "error"
    assert calls["gate"]["result"] == UNKNOWN
    assert calls["done before"]["result"] == "done"
    assert calls["gate_safe"]["result"] == calls["gate_twice"]["result"] == "again"
    assert_numbered(stream.frames + rest.frames)


@requirement("runs.stop")
async def test_a_wish_to_stop_outlives_the_process_that_heard_it(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    tools = [call("stop_execution", reason="Enough."), call("gate", port=gates.port, note="y")]
    async with doomed.stream(plan({"tools": tools}, {"text": "On and on."})) as stream:
        gate = await gates.next()
        await stream.event("tool_call_result")
        victim.kill()
        await gate.left()
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    assert rest.reason == "stopped"
    assert "text_delta" not in rest.events
    await assert_folds(survivor, crash_lab, stream.session_id)


@requirement("runs.fold-always")
async def test_a_title_is_never_shown_before_the_log_has_it(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    """The owner of the live run writes it; what its death discards is announced again."""
    tools = [call("gate", port=gates.port, note="y")]
    async with doomed.stream(plan({"tools": tools}, {"text": "Well."})) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        path = f"/sessions/{stream.session_id}"
        for title in ("One", "Two"):
            assert (await survivor.ask("PATCH", path, {"title": title})).status == 200
            await stream.event("title_changed", ("One", "Two").index(title) + 1)
            detail = await assert_folds(survivor, crash_lab, stream.session_id)
            assert detail["title"] == title
        victim.process.send_signal(signal.SIGSTOP)
        assert (await survivor.ask("PATCH", path, {"title": "Three"})).status == 200
        await assert_folds(survivor, crash_lab, stream.session_id)  # still "Two", unless taken over
        victim.kill()
        await gate.left()
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    names = [frame.event for frame in rest.frames]
    assert names[names.index("run_resumed") + 1] == "title_changed"
    detail = await assert_folds(survivor, crash_lab, stream.session_id)
    assert detail["title"] == "Three"


@requirement("runs.unwritable")
async def test_what_the_database_refuses_for_its_content_ends_the_run_at_once(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab()
    client = Client(http, (await asyncio.to_thread(lab.start().wait_ready)).url)
    nameless = plan({"tools": [call("n" * 300)]}, {"text": "Again?"})
    stream = await client.talk(nameless)
    assert stream.reason == "error"
    assert stream.all("error")[-1].data["code"] == "unwritable"
    assert count_attempts(lab, stream.run_id) == (1, 0)
    await assert_folds(client, lab, stream.session_id)
    later = await client.talk(plan({"text": "Yes."}), stream.session_id)
    assert later.reason == "model_stop", later.all("error")


@requirement("runs.hand-over")
async def test_a_stopping_process_lets_runs_end_and_hands_the_rest_over(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client, gates: Gates
) -> None:
    gated = plan({"tools": [call("gate", port=gates.port)]}, {"text": "Just in time."})
    endless = plan({**SPOKEN, "deltas": 120})
    async with doomed.stream(gated) as short, doomed.stream(endless) as stream:
        gate = await gates.next()
        await stream.until(lambda stream: len(stream.all("text_delta")) >= 5)
        victim.process.send_signal(signal.SIGTERM)
        gate.open()
        await short.to_end()
        await stream.to_close()
    assert short.text == "Just in time."
    assert "done" not in stream.events
    assert await asyncio.to_thread(victim.process.wait, 30) == 0
    rest = await read_to_done(survivor, stream.session_id, stream.last_id)
    await assert_whole(survivor, crash_lab, stream, rest)
    assert count_attempts(crash_lab, short.run_id) == (1, 0)
    assert count_attempts(crash_lab, stream.run_id) == (2, 0)


@requirement("runs.fence", "runs.one-done", "runs.numbers")
async def test_a_process_that_wakes_after_its_lease_writes_nothing(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client
) -> None:
    async with doomed.stream(plan(SPOKEN)) as stream:
        await stream.until(lambda stream: len(stream.all("text_delta")) >= 5)
        victim.process.send_signal(signal.SIGSTOP)
        await read_to_done(survivor, stream.session_id)
        before = crash_lab.entries(stream.session_id)
        victim.process.send_signal(signal.SIGCONT)
        await stream.to_end(LONG)
    await assert_whole(survivor, crash_lab, stream, None)
    after = crash_lab.entries(stream.session_id)
    assert [entry for entry in after if entry.seq <= before[-1].seq] == before
    attempts = crash_lab.query(
        "SELECT DISTINCT attempt FROM sessions_app_modelcall WHERE run_id = %s"
        " AND purpose = 'main' AND error = ''", stream.run_id,
    )  # fmt: skip
    assert attempts == [(2,)]


@requirement("runs.poison", "runs.one-done", "admin.alerts")
async def test_a_run_that_kills_its_processes_is_ended_after_three(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab(RUN_LEASE_SECONDS="2")
    servers = [lab.start() for _ in range(MAX_LOSSES + 1)]
    for server in servers:
        await asyncio.to_thread(server.wait_ready)
    message = plan({"text": "Watch this. ", "tools": [call("crash")]}, {"text": "Unreachable."})
    async with Client(http, servers[0].url).stream(message) as stream:
        await stream.event("tool_call_start")
    for _ in range(MAX_LOSSES):
        await asyncio.to_thread(wait_for_death, servers)
    (last,) = servers
    client = Client(http, last.url)
    log = await read_to_done(client, stream.session_id)
    assert log.reason == "error"
    assert log.all("error")[0].data["code"] == "poisoned"
    assert log.all("tool_call_result")[-1].data["status"] == "error"
    assert last.process.poll() is None
    assert count_attempts(lab, stream.run_id)[1] == MAX_LOSSES
    alerts = lab.query("SELECT kind, details->>'run' FROM operations_alert")
    assert alerts == [("poison", stream.run_id)]
    await assert_folds(client, lab, stream.session_id)
    assert (await client.talk("Still there?", stream.session_id)).reason == "model_stop"


@pytest.mark.django_db
@requirement("runs.poison", "runs.busy-rollback", "admin.alerts")
@pytest.mark.parametrize("rollback", [False, True])
def test_a_run_that_has_lost_enough_processes_is_ended_without_being_loaded(
    rollback: bool,
) -> None:
    session = make_session(reserved_seq=10_000)
    run = make_run(session, status="running", owner="host_me", rollback_requested=rollback)
    Run.objects.filter(pk=run.pk).update(attempt=MAX_LOSSES + 1, losses=MAX_LOSSES)
    unloadable = cast(ServedAgents, object())  # it has no agent to give
    given = reopen(unloadable, run.pk, "host_me")
    assert given == GivenUp(RunRef(run.pk, MAX_LOSSES + 1, session.pk, ""), automation=False)
    run.refresh_from_db()
    assert (run.status, run.reason, run.error["code"]) == ("done", "error", "poisoned")
    assert Alert.objects.filter(kind="poison", details__run=run.pk).count() == 1
    assert run.messages.exists() is not rollback
    *_, failed, done = (entry.event for entry in log.read(session.pk, 10_000))
    assert isinstance(failed, Failed)
    assert isinstance(done, Done)
    with pytest.raises(LeaseLost):
        reopen(unloadable, run.pk, "host_me")


def wait_for_death(servers: list[Server]) -> None:
    """Wait until one of the servers has died, and take it out of the list."""
    assert within(LONG, lambda: any(server.process.poll() is not None for server in servers))
    dead = [server for server in servers if server.process.poll() is not None]
    for server in dead[:1]:
        servers.remove(server)


@requirement("http.follow", "runs.resume")
async def test_lost_database_connections_lose_no_event(
    crash_lab: Lab, victim: Server, doomed: Client, survivor: Client
) -> None:
    async with (
        doomed.stream(plan({**SPOKEN, "deltas": 100})) as stream,
        AsyncExitStack() as stack,
    ):
        await stream.event("text_delta")
        viewers = [
            await stack.enter_async_context(reader.follow(stream.session_id))
            for reader in (doomed, survivor)
        ]
        for _ in range(3):
            seen = len(stream.frames)
            await stream.until(lambda stream, seen=seen: len(stream.frames) >= seen + 15)
            crash_lab.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await stream.to_end(LONG)
        for viewer in viewers:
            await viewer.until(lambda viewer: "done" in viewer.events, LONG)
            assert viewer.raw.startswith(stream.raw)
    assert stream.reason == "model_stop"
    assert count_attempts(crash_lab, stream.run_id) == (1, 0)
    await assert_whole(survivor, crash_lab, stream, None)
