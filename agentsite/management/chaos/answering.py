"""What people do when they are asked: agree, decline, stay silent, answer twice, or talk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from agentsite.management.chaos.asking import Asking, Sent
from agentsite.management.chaos.frames import Frame
from agentsite.management.chaos.recording import Reader, Recording
from agentsite.management.chaos.world import World

QUESTIONS = frozenset({"confirmation_required", "ask_user", "ask_choice"})
ANSWERED = frozenset({200, 404, 409, 410})
"""What an answer may get: by then it may be too late, or somebody else's."""


class Answering:
    """One person's answers to the questions of a session, each considered once."""

    def __init__(
        self,
        world: World,
        rng: random.Random,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._world, self._rng, self._spawn = world, rng, spawn
        self._asking = Asking(world, rng)
        self._seen: set[str] = set()
        self.session_id = ""

    def consider(self, frame: Frame) -> None:
        """Look at a frame; begin to answer when it asks something new."""
        if frame.name not in QUESTIONS:
            return
        data = frame.data
        if data["interactionId"] in self._seen:
            return
        self._seen.add(data["interactionId"])
        if self._rng.random() < 0.18:
            self._world.met["questions left to expire"] += 1
            return
        self._spawn(self._answer(frame.name, data))

    async def _answer(self, name: str, data: dict[str, Any]) -> None:
        rng = self._rng
        await asyncio.sleep(rng.choice((0, 0.2, 1.0, 3.0)) * rng.random())
        how = rng.random()
        if name == "confirmation_required":
            approved = rng.random() < 0.75
            if how < 0.2:
                word = "approve" if approved else "deny"
                await self._say(f"I {word} the action (correlation: {data['correlation_id']})")
                return
            answer: dict[str, Any] = {"approved": approved}
        elif name == "ask_choice":
            if how < 0.5:
                await self._say("I would go left.")
                return
            answer = {"answers": {"choice": "right"}}
        else:
            answer = {"answers": {"0": "Fern"}}
        body = {
            "sessionId": self.session_id, "interactionId": data["interactionId"], **answer
        }  # fmt: skip
        await self._post(body)
        if rng.random() < 0.15:
            await self._post(body)

    async def _post(self, body: dict[str, Any]) -> None:
        status, said = await self._asking.request("POST", "/ask-user-response", body)
        self._world.met[f"answers {status}"] += 1
        if status not in ANSWERED:
            self._world.surprise(f"an answer got {status}: {said}")

    async def _say(self, text: str) -> None:
        """Answer with a chat message; what it starts or joins is only looked at."""
        body = {"message": text, "sessionId": self.session_id}
        sent = await self._asking.post_stream(body, None)
        if not isinstance(sent, Sent):
            return
        recording = Recording(self.session_id, "answer")
        self._world.recordings.append(recording)
        reader = Reader(sent.response, recording, self._rng, self._world.is_behind)
        ending = await reader.read(lambda frame: frame.name == "done")
        self._world.met[f"streams {ending}"] += 1
