"""Many people at one session, on two processes, with everything that may be asked of a run.

Law: whatever they do, every run ends once, every call has one result, the log has no hole,
the fold agrees, and no vendor's validator refuses the history that is left.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from agentsite.engine import events as e
from tests.folding import assert_folds
from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client, Reply, eventually

SESSIONS = 12
"""At the same time."""
ACTIONS = 8
MODES = ("reject", "enqueue", "interrupt", "rollback", "steer")
EXPECTED = {
    200,
    404,  # a question that is gone
    409,  # busy, or answered before
    410,  # a question whose run has ended
}


def make_message(chance: random.Random, port: int) -> str:
    """Something that takes a moment, and sometimes a person."""
    gate = call("gate", port=port, note="storm")
    slow = {"deltas": 12, "rate": 120}
    choice = call("ask_choice", question="Which?", options=[{"label": "A"}, {"label": "B"}])
    plans: list[list[dict[str, Any]]] = [
        [slow],
        [
            {"text": "One. ", "tools": [gate, call("gate_alone", port=port, note="alone"), gate]},
            slow,
        ],
        [{"text": "May I? ", "tools": [call("wipe"), gate]}, slow],
        [{**slow, "tools": [call("wipe"), call("wipe")]}, {"tools": [choice]}, {}],
        [{"tools": [call("fail"), call("teleport")]}, {"deltas": 6, "cut_after": 2}],
    ]
    return plan(*chance.choice(plans))


async def act(chance: random.Random, client: Client, session_id: str, port: int) -> Reply:
    """One thing that somebody does."""
    deed = chance.choice(("say", "say", "say", "interrupt", "answer", "answer", "by text"))
    if deed == "say":
        body = client.body(make_message(chance, port), session_id, onBusy=chance.choice(MODES))
        return await client.post("/chat", body)
    if deed == "interrupt":
        return await client.post(f"/sessions/{session_id}/interrupt", {})
    pending = (await client.detail(session_id))["pendingInteractions"]
    if not pending:
        return await client.post("/chat", client.body("Hm.", session_id, onBusy="steer"))
    name = chance.choice(pending)["interactionId"]
    if deed == "by text":
        word = chance.choice(("approve", "deny"))
        said = f"I {word} the action (correlation: {name})"
        return await client.post("/chat", client.body(said, session_id))
    approved = chance.random() < 0.6
    return await client.answer(session_id, interactionId=name, approved=approved)


async def settle(client: Client, session_id: str) -> None:
    """Answer what is still open until nothing of the session is under way."""

    async def is_settled() -> bool:
        state = await client.get(f"/sessions/{session_id}/state?since={2**60}")
        for question in state["pendingInteractions"]:
            await client.answer(session_id, interactionId=question["interactionId"], approved=False)
        return "run" not in state and not state["queue"]

    await eventually(is_settled, 40, pause=0.1)


def assert_log_is_sound(lab: Lab, session_id: str) -> None:
    """No hole, one end per run and nothing of it afterwards, one result per call."""
    entries = lab.entries(session_id)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    ended: Counter[str] = Counter()
    begun: Counter[str] = Counter()
    started: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    live = ""
    for entry in entries:
        match entry.event:
            case e.Init(_, run_id):
                assert live == ""
                begun[run_id] += 1
                live = run_id
            case e.Done(_, _, _, run_id):
                assert live == run_id
                ended[run_id] += 1
                live = ""
            case e.ToolStarted(call_id):
                started[call_id] += 1
            case e.ToolEnded(call_id):
                settled[call_id] += 1
            case e.TitleChanged():
                pass
            case _:
                assert live
    assert begun == ended
    assert started == settled
    assert set(begun.values()) | set(started.values()) <= {1}


def describe(lab: Lab, session_id: str) -> str:
    """Where a session stands whose answer does not come."""
    runs = lab.query(
        "SELECT id, status, attempt, owner <> '', queue_rank, steering, first_seq, last_seq,"
        " reason, state->'phase' FROM sessions_app_run WHERE session_id = %s ORDER BY first_seq",
        session_id,
    )
    asked = lab.query(
        "SELECT run_id, kind, status FROM sessions_app_interaction WHERE session_id = %s",
        session_id,
    )
    tail = [(entry.seq, type(entry.event).__name__) for entry in lab.entries(session_id)[-12:]]
    return f"no answer in time: {runs} {asked} {tail}"


async def storm(
    seed: int, client: Client, elsewhere: Client, lab: Lab, gates: Gates
) -> Counter[int]:
    """One session's storm; what was answered."""
    chance = random.Random(seed)
    session_id = (await client.talk(plan({"text": "Calm."}))).session_id
    answers: Counter[int] = Counter()

    async def person(reader: Client, turns: random.Random) -> None:
        for _ in range(ACTIONS // 2):
            try:
                reply = await act(turns, reader, session_id, gates.port)
            except TimeoutError as error:
                raise AssertionError(describe(lab, session_id)) from error
            assert reply.status in EXPECTED or reply.status == 502, (reply.status, reply.raw)
            answers[reply.status] += 1

    people = [person(r, random.Random(chance.random())) for r in (client, elsewhere) * 2]
    await asyncio.gather(*people)
    await settle(client, session_id)
    assert_log_is_sound(lab, session_id)
    await assert_folds(elsewhere, lab, session_id)
    for entry in lab.entries(session_id):
        if isinstance(entry.event, e.Failed):
            assert entry.event.code == "provider_server", entry.event  # the answers that are cut
    left = lab.query(
        "SELECT count(*) FROM sessions_app_interaction WHERE session_id = %s AND status = 'open'",
        session_id,
    )
    assert left == [(0,)]
    return answers


@requirement("runs.one-result", "runs.one-done", "runs.one-live-run", "http.fold")
async def test_a_storm_of_requests_leaves_a_sound_session(
    client: Client, elsewhere: Client, lab: Lab, gates: Gates, request: pytest.FixtureRequest
) -> None:
    gates.auto = "through"
    answers: Counter[int] = Counter()
    for first in range(0, request.config.getoption("--storms", 2) * SESSIONS, SESSIONS):
        seeds = range(first, first + SESSIONS)
        told = await asyncio.gather(*(storm(seed, client, elsewhere, lab, gates) for seed in seeds))
        answers += sum(told, Counter())
    assert answers[200] > SESSIONS
