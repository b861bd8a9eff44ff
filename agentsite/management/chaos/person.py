"""One person in one conversation: talks, interrupts, answers, loses connections, repeats."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import aiohttp

from agentsite.management.chaos.answering import Answering
from agentsite.management.chaos.asking import Asking, Refused, Sent
from agentsite.management.chaos.frames import Splitter
from agentsite.management.chaos.plans import Planner
from agentsite.management.chaos.recording import Reader, Recording
from agentsite.management.chaos.turn import Turn
from agentsite.management.chaos.viewer import watch
from agentsite.management.chaos.world import Accepted, World

MODES = ("reject", "enqueue", "interrupt", "rollback", "steer")
BUSY = frozenset({"session_busy", "queue_full", "too_many_runs"})


class Person:
    """A conversation of a few messages, with everything that happens beside it."""

    def __init__(self, world: World, rng: random.Random, name: str) -> None:
        self._world, self._rng = world, rng
        self._planner = Planner(rng, name)
        self._asking = Asking(world, rng)
        self._answering = Answering(world, rng, self._spawn)
        self._session_id = ""
        self._viewers: list[asyncio.Task[None]] = []
        self._beside: list[asyncio.Task[None]] = []

    async def talk(self) -> None:
        """The whole conversation; returns when nothing of it is open."""
        try:
            for _ in range(self._rng.randint(2, 9)):
                if not await self._world.admit():
                    break
                said = self._spawn(self._say(None))
                if not self._session_id or self._rng.random() < 0.8:
                    await asyncio.wait({said})
                if self._session_id and not self._viewers:
                    self._invite_viewers()
            while working := [task for task in self._beside if not task.done()]:
                await asyncio.wait(working)
        finally:
            for task in (*self._viewers, *self._beside):
                task.cancel()
            await asyncio.gather(*self._viewers, *self._beside, return_exceptions=True)
        for task in self._beside:
            task.result()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._beside.append(task)
        return task

    def _invite_viewers(self) -> None:
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            rng = random.Random(self._rng.random())  # noqa: S311 - repeatable, not secret
            recording = Recording(self._session_id, "viewer", start=0)
            self._world.recordings.append(recording)
            self._viewers.append(asyncio.create_task(watch(self._world, rng, recording)))

    async def _say(self, mode: str | None) -> None:
        """Send a message and follow it to its end."""
        token, text = self._planner.say()
        body: dict[str, Any] = {"message": text}
        if self._session_id:
            body["sessionId"] = self._session_id
        if mode is not None:
            body["onBusy"] = mode
        careless = self._session_id and self._rng.random() < 0.15
        key = None if careless else f"key-{token}"
        sent = await self._asking.post_stream(body, key)
        if not isinstance(sent, Sent):
            self._note_refusal(sent, mode)
            return
        self._note_accepted(sent, token, mode)
        turn = Turn(self._world, token, self._answering.consider)
        if mode is None and self._rng.random() < 0.5:
            self._spawn(self._disturb(body, key, turn))
        await turn.follow(sent, self._asking, self._make_reader)

    def _make_reader(
        self, response: aiohttp.ClientResponse, recording: Recording, splitter: Splitter
    ) -> Reader:
        return Reader(response, recording, self._rng, self._world.is_behind, splitter)

    def _note_refusal(self, refused: Refused | None, mode: str | None) -> None:
        what = "requests without an answer" if refused is None else refused.code
        self._world.met[what] += 1
        if refused is not None and refused.code not in BUSY:
            self._world.surprise(f"onBusy={mode}: {refused}")

    def _note_accepted(self, sent: Sent, token: str, mode: str | None) -> None:
        self._session_id = self._session_id or sent.session_id
        self._answering.session_id = self._session_id
        if sent.session_id != self._session_id:
            self._world.surprise(f"{token} went to {sent.session_id}, not {self._session_id}")
        self._world.sessions.add(sent.session_id)
        self._world.accepted.append(Accepted(token, sent.session_id, mode or "idle"))

    async def _disturb(self, body: dict[str, Any], key: str | None, turn: Turn) -> None:
        """What happens beside a message."""
        await asyncio.sleep(self._rng.uniform(0, 1.5))
        path = f"/sessions/{self._session_id}"
        request = self._asking.request
        match self._rng.choice(("busy", "busy", "busy", "stop", "again", "other", "title", "look")):
            case "busy":
                if await self._world.admit():
                    await self._say(self._rng.choice(MODES))
            case "stop":
                self._expect(await request("POST", f"{path}/interrupt", {}), 200)
            case "again" if key is not None:
                status, said = await request("POST", "/chat/sync", body, key)
                if status == 200 and turn.run_id and said["runId"] != turn.run_id:
                    self._world.surprise(f"{key} began {said['runId']} beside {turn.run_id}")
            case "other" if key is not None:
                other = {**body, "message": "something else"}
                self._expect(await request("POST", "/chat/stream", other, key), 422)
            case "title":
                title = {"title": f"Title {self._rng.random()}"}
                self._expect(await request("PATCH", path, title), 200)
            case _:
                self._expect(await request("GET", f"{path}/state"), 200)

    def _expect(self, answer: tuple[int, dict[str, Any]], status: int) -> None:
        if answer[0] != status:
            self._world.surprise(f"{status} was expected, {answer} came")
