"""One chaos run from the first process to the verdict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from agentsite.management.chaos.agent import write_agent
from agentsite.management.chaos.calm import Calm, calm_down
from agentsite.management.chaos.counting import CountingServer
from agentsite.management.chaos.facts import Facts, read_facts
from agentsite.management.chaos.findings import Findings
from agentsite.management.chaos.judge_calls import judge_effects, judge_fences, judge_unknowns
from agentsite.management.chaos.judge_log import judge_log
from agentsite.management.chaos.judge_recordings import judge_recording
from agentsite.management.chaos.killer import Killer
from agentsite.management.chaos.options import Options
from agentsite.management.chaos.person import Person
from agentsite.management.chaos.report import show
from agentsite.management.chaos.stage import Stage
from agentsite.management.chaos.trail import lay_trail
from agentsite.management.chaos.world import World

TALK_SECONDS = 240.0
"""How long a conversation may go on after the storm."""


async def rage(root: Path, folder: Path, options: Options, say: Callable[[str], object]) -> bool:
    """Run, judge and report; True when nothing was violated."""
    began = time.monotonic()
    async with CountingServer() as counting:
        with Stage(root, folder, options) as stage:
            (folder / "agent").mkdir()
            write_agent(folder / "agent", options, stage.fake_url, counting.port)
            await asyncio.to_thread(stage.start_webs)
            with stage.connect() as connection:
                lay_trail(connection)
            say(f"{options.processes} processes serve after {time.monotonic() - began:.0f} s")
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            async with aiohttp.ClientSession(connector=connector) as http:
                world = World(options, stage, counting, http)
                await _storm(world, say)
                calm = await calm_down(world, _random(options, "calm"))
            with stage.connect() as connection:
                facts = read_facts(connection)
    found = judge(world, calm, facts)
    found.figures["seconds"] = round(time.monotonic() - began)
    say(show(found, stage.kills, world.met))
    return found.clean


def _random(options: Options, name: str) -> random.Random:
    return random.Random(f"{options.seed}/{name}")  # noqa: S311 - repeatable, not secret


async def _storm(world: World, say: Callable[[str], object]) -> None:
    """People and kills side by side, until both have had their number."""
    people = [asyncio.create_task(_live(world, number)) for number in range(world.options.people)]
    telling = asyncio.create_task(_tell(world, say))
    try:
        await Killer(world, _random(world.options, "killer")).rage()
        _, late = await asyncio.wait(people, timeout=TALK_SECONDS)
        if late:
            world.surprise(f"{len(late)} conversations did not come to an end: {tell_waiting()}")
        for task in late:
            task.cancel()
        for outcome in await asyncio.gather(*people, return_exceptions=True):
            if isinstance(outcome, Exception):
                world.surprise(f"a client broke: {outcome!r}")
    finally:
        telling.cancel()


def tell_waiting() -> str:
    """Where every task of this process waits: the innermost lines of our own."""
    found: Counter[str] = Counter()
    for task in asyncio.all_tasks():
        waiting: Any = task.get_coro()
        places = []
        while waiting is not None:
            frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
            if frame is not None:
                places.append(f"{Path(frame.f_code.co_filename).stem}:{frame.f_lineno}")
            waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
        found[" > ".join(places)] += 1
    return "; ".join(f"{count} x {place}" for place, count in found.items())


async def _live(world: World, number: int) -> None:
    rng = _random(world.options, f"person {number}")
    talked = 0
    while await world.admit():
        talked += 1
        await Person(world, rng, f"m{number}.{talked}").talk()


async def _tell(world: World, say: Callable[[str], object]) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(20)
        done = f"{len(world.accepted)} messages, {len(world.stage.kills)} kills"
        say(f"  {time.monotonic() - began:.0f} s: {done}")


def judge(world: World, calm: Calm, facts: Facts) -> Findings:
    """All proofs."""
    found = Findings()
    reasons = Counter(run.reason for run in facts.runs.values())
    found.figures |= {"seed": world.options.seed, "processes": world.options.processes}
    found.figures |= {"messages": len(world.accepted), "sessions": len(world.sessions)}
    found.figures["runs"] = len(facts.runs)
    found.figures |= {f"  ended by {reason}": count for reason, count in sorted(reasons.items())}
    found.figures["runs taken over"] = sum(run.losses > 0 for run in facts.runs.values())
    found.figures["runs given up as poisoned"] = sum(
        run.code == "poisoned" for run in facts.runs.values()
    )
    found.figures["recordings"] = len(world.recordings)
    found.figures["connections"] = sum(one.connections for one in world.recordings)
    found.figures["seconds from last kill to last end"] = round(calm.settled, 1)
    for kind, texts in (
        ("stuck", calm.stuck), ("stalled streams", calm.laggards), ("surprises", world.surprises)
    ):  # fmt: skip
        for text in texts:
            found.fault(kind, text)
    judge_reach(world.options, len(world.accepted), len(world.stage.kills), found)
    judge_log(facts, world.accepted, found)
    judge_effects(facts, world.counting.by_name, found)
    judge_unknowns(facts, world.stage.kills, found)
    judge_fences(facts, found)
    for recording in world.recordings:
        log = facts.logs.get(recording.session_id)
        if log is not None:
            judge_recording(recording, log, calm.details.get(recording.session_id, {}), found)
    return found


def judge_reach(options: Options, messages: int, kills: int, found: Findings) -> None:
    """What was not broken proves nothing: all that was wanted must have happened."""
    for name, wanted, done in (
        ("messages", options.runs, messages),
        ("kills", options.kills, kills),
    ):
        if done < wanted:
            text = f"{done} of {wanted} {name} within {options.longest_storm:.0f} s"
            found.fault("not reached", f"{text}: ask for fewer, or give it more --seconds")
