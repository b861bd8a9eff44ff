"""After the storm: everything ends in time, accepts messages, and shows itself to the end."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import msgspec

from agentsite.management.chaos.asking import Asking
from agentsite.management.chaos.frames import Frame
from agentsite.management.chaos.recording import Recording
from agentsite.management.chaos.world import World

AT_ONCE = 8
QUIET_SECONDS = 2.0
CATCH_UP_SECONDS = 60.0
UNENDED = "SELECT id, status FROM sessions_app_run WHERE status <> 'done'"
PROBE = """Are you there? @@fake {"text": "Yes."}@@"""
"""With an answer of its own: the model may read what was said before and has no answer as one."""
NEWEST = "SELECT session_id, max(last_seq) FROM sessions_app_eventbatch GROUP BY session_id"


class Calm(msgspec.Struct):
    """What was found while the servers still ran."""

    stuck: list[str] = []
    """Runs that did not end, sessions that took no message."""
    laggards: list[str] = []
    """Viewers that never got to the end of their session."""
    details: dict[str, dict[str, Any]] = {}
    """`GET /sessions/{id}` by session."""
    settled: float = 0.0
    """Seconds from the last kill until every run had ended."""


async def calm_down(world: World, rng: random.Random) -> Calm:
    """Wait, ask every session, and read everything to its end."""
    calm = Calm()
    last = max((kill.ended for kill in world.stage.kills), default=time.time())
    while left := await asyncio.to_thread(_select, world, UNENDED):
        if time.time() > last + world.options.settle:
            calm.stuck += [f"{run_id} is still {status}" for run_id, status in left]
            break
        await asyncio.sleep(0.2)
    calm.settled = max(0.0, time.time() - last)
    stuck = await _each(sorted(world.sessions), lambda one: _probe(world, rng, one))
    calm.stuck += [text for text in stuck if text]
    newest = await _wait_quiet(world)
    viewers = [recording for recording in world.recordings if recording.kind == "viewer"]
    late = await _each(viewers, lambda one: _catch_up(world, rng, one, newest))
    calm.laggards += [text for text in late if text]
    details = await _each(sorted(world.sessions), lambda one: _read(world, rng, one))
    calm.details = dict(details)
    return calm


async def _each(items: list[Any], work: Any) -> list[Any]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return list(await asyncio.gather(*map(one, items)))


def _select(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.stage.connect() as connection:
        return connection.execute(query).fetchall()


async def _probe(world: World, rng: random.Random, session_id: str) -> str:
    """Say something harmless; what is wrong with the answer."""
    body = {"message": PROBE, "sessionId": session_id}
    key = f"probe-{session_id}"
    status, said = await Asking(world, rng).request("POST", "/chat/sync", body, key)
    if status == 200 and said.get("reason") == "model_stop":
        return ""
    return f"{session_id} took no message: {status} {str(said)[:300]}"


async def _wait_quiet(world: World) -> dict[str, int]:
    """Until nothing is logged any more (titles come late); the newest numbers."""
    before: dict[str, int] = {}
    for _ in range(20):
        rows = dict(await asyncio.to_thread(_select, world, NEWEST))
        if rows == before:
            break
        before = rows
        await asyncio.sleep(QUIET_SECONDS)
    return before


async def _catch_up(
    world: World, rng: random.Random, recording: Recording, newest: dict[str, int]
) -> str:
    """Let a viewer read to the end; what is wrong when it cannot."""
    asking = Asking(world, rng)
    end = newest.get(recording.session_id, 0)

    def see(frame: Frame) -> bool:
        return frame.seq >= end

    try:
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while recording.last < end:
                await asking.resume(recording, see)
    except TimeoutError:
        return f"a viewer of {recording.session_id} stays at {recording.last} of {end}"
    return ""


async def _read(world: World, rng: random.Random, session_id: str) -> tuple[str, dict[str, Any]]:
    _, found = await Asking(world, rng).request("GET", f"/sessions/{session_id}")
    return session_id, found
