"""The kills: which, when, and what comes after each.

Law: at every moment one web process at least is neither dead nor stopped.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Coroutine
from typing import Any

import psycopg

from agentsite.embedded import EmbeddedError
from agentsite.management.chaos.web import START_WITHIN, Kill, Web
from agentsite.management.chaos.world import AHEAD, World

GLANCE = 0.05


class Killer:
    """Kills until all kills are done or the storm is over; then everything serves again."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world, self._rng = world, rng
        self._stage = world.stage
        self._tasks: set[asyncio.Task[None]] = set()
        self._database = asyncio.Lock()

    async def rage(self) -> None:
        """All kills, in step with the messages."""
        world = self._world
        while world.killed < 1 and time.monotonic() < world.ends_at:
            await asyncio.sleep(self._rng.uniform(0.1, 1.2))
            if world.killed <= world.said + AHEAD + 2 / world.options.kills:
                self._strike()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _strike(self) -> None:
        up = [web for web in self._stage.webs if web.up]
        if len(up) < 2:
            return
        kind = self._rng.choices(("kill", "pause", "term", "postgres"), (44, 30, 18, 8))[0]
        if kind == "postgres":
            if not self._database.locked():
                self._spawn(self._restart_database())
            return
        web = self._rng.choice(up)
        web.up = False
        match kind:
            case "kill":
                self._spawn(self._kill(web))
            case "pause":
                self._spawn(self._pause(web))
            case _:
                self._spawn(self._terminate(web))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._world.surprise(f"a kill went wrong: {task.exception()!r}")

    def _note(self, kill: Kill) -> Kill:
        self._stage.kills.append(kill)
        return kill

    async def _kill(self, web: Web) -> None:
        kill = self._note(Kill("kill", web.name, time.time()))
        web.send(signal.SIGKILL)
        await self._wait_end(web, 10)
        kill.ended = time.time()
        await asyncio.sleep(self._rng.uniform(0, 1))
        await self._start(web)

    async def _pause(self, web: Web) -> None:
        kill = self._note(Kill("pause", web.name, time.time()))
        options = self._world.options
        beyond = options.lease + self._rng.uniform(0.5, options.heartbeat + 2)
        web.send(signal.SIGSTOP)
        await asyncio.sleep(beyond if self._rng.random() < 0.85 else options.lease / 2)
        web.send(signal.SIGCONT)
        kill.ended = time.time()
        web.up = True

    async def _terminate(self, web: Web) -> None:
        kill = self._note(Kill("term", web.name, time.time()))
        web.send(signal.SIGTERM)
        patience = self._world.options.grace + 30
        if not await self._wait_end(web, patience):
            self._world.surprise(f"{web.name} did not end within {patience} s of SIGTERM")
            web.send(signal.SIGABRT)  # it leaves in its log where it stood
            await self._wait_end(web, 10)
        elif web.process is not None and web.process.returncode != 0:
            self._world.surprise(f"{web.name} ended with {web.process.returncode} after SIGTERM")
        kill.ended = time.time()
        await self._start(web)

    async def _restart_database(self) -> None:
        async with self._database:
            kill = self._note(Kill("postgres", "", time.time()))
            how = self._rng.choice((signal.SIGINT, signal.SIGKILL))
            try:
                main = await asyncio.to_thread(self._stage.postmaster)
                main.send_signal(how)
                await asyncio.to_thread(main.wait, 20)
                await asyncio.to_thread(self._stage.attach_anew)
            except (psycopg.Error, EmbeddedError) as error:
                self._world.surprise(f"Postgres, killed with {how.name}: {error!r}")
            kill.ended = time.time()

    async def _wait_end(self, web: Web, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while web.process is not None and web.process.poll() is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(GLANCE)
        return True

    async def _start(self, web: Web) -> None:
        """Start it, and again when it does not (the database may be away)."""
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until:
            web.start()
            try:
                await asyncio.to_thread(web.wait_ready, START_WITHIN)
            except RuntimeError:
                self._world.met["starts that failed"] += 1
                await asyncio.sleep(0.5)
            else:
                return
        raise RuntimeError(f"{web.name} did not start within {START_WITHIN:.0f} s")
