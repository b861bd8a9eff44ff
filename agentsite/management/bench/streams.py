"""Streams at real time: what they delay and cost, and how long a newcomer waits beside them."""

from __future__ import annotations

import asyncio

from agentsite.management.bench.client import Recorder
from agentsite.management.bench.cost import Costs, resident
from agentsite.management.bench.fake import STAMP
from agentsite.management.bench.figures import Figures, quantile, quantiles
from agentsite.management.bench.load import RAMP, REAL_TIME, Plan, Way, streaming
from agentsite.management.bench.report import FIRST, MEMORY, REAL_TIME as TABLE
from agentsite.management.bench.stack import Stack

SETTLE = 0.5
PAUSE = 0.03
"""Seconds between two newcomers."""
WARM_UP = 20
SHORT = Plan(deltas=2, rate=REAL_TIME)


async def measure_alone(stack: Stack, figures: Figures, seconds: float) -> None:
    """A newcomer with nobody beside it."""
    await warm_up(stack)
    through, direct = await probe(stack, seconds)
    _note_first(figures, "alone", through, direct)


async def warm_up(stack: Stack) -> None:
    """Let a fresh server fill its pools."""
    await probe(stack, seconds=0, least=WARM_UP)


async def measure_real_time(stack: Stack, figures: Figures, count: int, seconds: float) -> None:
    """`count` streams: first their own delays and cost, then newcomers among them."""
    row = name_row(count)
    recorder = Recorder()
    length = count * RAMP + SETTLE + 2 * seconds + 1
    plan = Plan(deltas=int(length * REAL_TIME), rate=REAL_TIME)
    costs = Costs(stack)
    async with streaming(Way(stack, direct=False), count, plan, recorder):
        await asyncio.sleep(SETTLE)
        before, recorder.on = costs.spent(), True
        await asyncio.sleep(seconds)
        recorder.on = False
        spent = costs.spent() - before
        megabytes = resident(stack.server)
        through, direct = await probe(stack, seconds) if count > 1 else ([], [])
    baseline = await _measure_direct(stack, count, seconds / 2)
    deltas = recorder.characters / STAMP
    figures.add(
        TABLE,
        row,
        p50_ms=quantile(recorder.delays, 0.5),
        p95_ms=quantile(recorder.delays, 0.95),
        direct_p50=quantile(baseline.delays, 0.5),
        direct_p95=quantile(baseline.delays, 0.95),
        **{
            "deltas/s": deltas / seconds,
            "server µs/delta": spent.server / deltas * 1e6,
            "Postgres": spent.postgres / deltas * 1e6,
            "model": spent.model / deltas * 1e6,
            "client": spent.client / deltas * 1e6,
            "server MB": megabytes,
        },
    )
    figures.add(MEMORY, "web process", **{f"{row} open": megabytes})
    if through:
        _note_first(figures, row, through, direct)


async def _measure_direct(stack: Stack, count: int, seconds: float) -> Recorder:
    """The delays of the same streams without the server between."""
    recorder = Recorder()
    plan = Plan(deltas=int((count * RAMP + SETTLE + seconds) * REAL_TIME), rate=REAL_TIME)
    async with streaming(Way(stack, direct=True), count, plan, recorder):
        await asyncio.sleep(SETTLE)
        recorder.on = True
        await asyncio.sleep(seconds)
        recorder.on = False
    return recorder


async def probe(stack: Stack, seconds: float, least: int = 1) -> tuple[list[float], list[float]]:
    """Newcomers in turn through the server and directly: milliseconds to their first delta."""
    ways = [Way(stack, direct=False), Way(stack, direct=True)]
    lines = [await way.line() for way in ways]
    waits: tuple[list[float], list[float]] = ([], [])
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until or len(waits[0]) < least:
        for way, line, found in zip(ways, lines, waits, strict=True):
            found.append((await way.ask(line, SHORT)).wait_ms)
            await asyncio.sleep(PAUSE)
    for line in lines:
        line.close()
    return waits


def _note_first(figures: Figures, row: str, through: list[float], direct: list[float]) -> None:
    usual = quantile(direct, 0.5)
    figures.add(
        FIRST,
        row,
        **quantiles([wait - usual for wait in through], "added "),
        **quantiles(through),
        **quantiles(direct, "direct "),
        newcomers=len(through),
    )


def name_row(count: int) -> str:
    """`1 stream`, `10 streams`."""
    return f"{count} stream{'s' * (count > 1)}"
