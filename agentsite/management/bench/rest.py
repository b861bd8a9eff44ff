"""Everything at full speed, memory over many sessions, and what idle streams cost the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from agentsite.management.bench.client import Line, Recorder
from agentsite.management.bench.cost import Costs, resident
from agentsite.management.bench.figures import Figures, quantile
from agentsite.management.bench.load import PATIENCE, REAL_TIME, Plan, Way, streaming
from agentsite.management.bench.report import FLAT, IDLE, MEMORY
from agentsite.management.bench.stack import Stack
from agentsite.management.bench.streams import name_row

FLAT_DELTAS = 120_000
"""Deltas of all streams together, unless each would get too few."""
LEAST_EACH = 2000
FLAT_CHARS = 20
AT_ONCE = 20
POOL = 8
LISTENERS = 1
GAP = 0.01
"""Seconds between two other requests."""


async def measure_flat_out(stack: Stack, figures: Figures, count: int, share: float) -> None:
    """`count` streams without a pace; `share` scales the number of deltas."""
    each = int(max(LEAST_EACH, FLAT_DELTAS / count) * share)
    plan = Plan(deltas=each, chars=FLAT_CHARS)
    costs = Costs(stack)
    before = costs.spent()
    rate = await _run_flat(Way(stack, direct=False), count, plan)
    spent = costs.spent() - before
    direct = await _run_flat(Way(stack, direct=True), count, plan)
    total = each * count
    figures.add(
        FLAT,
        name_row(count),
        **{
            "deltas/s": rate,
            "direct": direct,
            "server µs/delta": spent.server / total * 1e6,
            "Postgres": spent.postgres / total * 1e6,
        },
    )


async def _run_flat(way: Way, count: int, plan: Plan) -> float:
    async with streaming(way, count, plan, Recorder(), ramp=0.001) as tasks:
        answers = await asyncio.gather(*tasks)
    seconds = max(a.ended for a in answers) - min(a.asked for a in answers)
    return plan.deltas * count / seconds


async def measure_sessions(stack: Stack, figures: Figures, counts: tuple[int, int]) -> None:
    """Memory after few and after many finished sessions."""
    before, done = [], 0
    for count in counts:
        await _finish_sessions(stack, count - done)
        done = count
        before.append(resident(stack.server))
    few, many = before
    figures.add(
        MEMORY,
        "web process",
        **{
            f"after {counts[0]} sessions": few,
            f"after {counts[1]} sessions": many,
            "growth %": (many / few - 1) * 100,
        },
    )


async def _finish_sessions(stack: Stack, count: int) -> None:
    way, left = Way(stack, direct=False), iter(range(count))

    async def talk() -> None:
        line = await way.line()
        for _ in left:
            await way.ask(line, Plan(deltas=10))
        line.close()

    await asyncio.gather(*(talk() for _ in range(AT_ONCE)))
    await asyncio.sleep(1)


async def measure_open(stack: Stack, figures: Figures, count: int, seconds: float) -> None:
    """Connections while `count` streams get their deltas."""
    plan = Plan(deltas=int((count * 0.01 + seconds) * REAL_TIME), rate=REAL_TIME)
    async with streaming(Way(stack, direct=False), count, plan, Recorder()):
        held, seen = await asyncio.to_thread(look_at_connections, stack)
    figures.add(IDLE, name_row(count), connections=seen, held=held)


async def measure_idle(stack: Stack, figures: Figures, count: int, seconds: float) -> None:
    """Other requests with and without `count` idle streams, and the connections these hold."""
    session = await _make_session(stack)
    async with AsyncExitStack() as leaving:
        asking = await Line.open(stack.url)
        leaving.callback(asking.close)
        alone = await _time_others(asking, session, seconds)
        for _ in range(count):
            line = await Line.open(stack.url)
            leaving.callback(line.close)
            line.send("GET", f"/sessions/{session}/events")
        await asyncio.sleep(1)
        beside = await _time_others(asking, session, seconds)
        held, seen = await asyncio.to_thread(look_at_connections, stack)
    figures.add(
        IDLE,
        f"{count} idle streams",
        connections=seen,
        held=held,
        p50=quantile(beside, 0.5),
        p95=quantile(beside, 0.95),
        alone_p50=quantile(alone, 0.5),
        alone_p95=quantile(alone, 0.95),
        slower_by_ms=quantile(beside, 0.95) - quantile(alone, 0.95),
    )


async def _make_session(stack: Stack) -> str:
    line = await Line.open(stack.url)
    body = msgspec.json.encode({"message": "Hello"})
    answer = await line.ask("POST", "/chat/sync", body)
    line.close()
    told: dict[str, Any] = msgspec.json.decode(answer.body)
    return str(told["sessionId"])


async def _time_others(line: Line, session: str, seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    waits: list[float] = []
    while loop.time() < until or not waits:
        async with asyncio.timeout(PATIENCE):
            answer = await line.ask("GET", f"/sessions/{session}")
        if answer.status != 200:
            raise RuntimeError(f"another request was answered with {answer.status}")
        waits.append(answer.whole_ms)
        await asyncio.sleep(GAP)
    return waits


def look_at_connections(stack: Stack, looks: int = 20) -> tuple[float, float]:
    """Connections that streams hold (beyond pool and listener, or idle in a transaction), and all.

    The pool's own are held only for the time of a unit: a stream that held one would sit idle in
    it or make the pool's bound burst.
    """
    held = seen = 0
    with stack.connect() as connection:
        for _ in range(looks):
            states = connection.execute(
                "SELECT state FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchall()
            seen = max(seen, len(states))
            stuck = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                " AND now() - state_change > interval '1 second'"
            ).fetchone()
            held = max(held, stuck[0] if stuck else 0, len(states) - POOL - LISTENERS)
    return float(max(held, 0)), float(seen)
