"""One message of a person, from the request to the end of the run that it became or joined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from agentsite.management.chaos.asking import Asking, Sent
from agentsite.management.chaos.frames import Frame
from agentsite.management.chaos.recording import Reader, Recording
from agentsite.management.chaos.world import World

FOLLOW_SECONDS = 120.0
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Turn:
    """Follows what becomes of the message with this token."""

    def __init__(self, world: World, token: str, consider: Callable[[Frame], None]) -> None:
        self._world = world
        self._mark = f"[{token}]"
        self._token = token
        self._consider = consider
        self.run_id = ""
        """Its own run, or the one it joined; empty until the log says so."""
        self._joined = False
        self.ended = False

    def see(self, frame: Frame) -> bool:
        """Take a frame; True when this connection has shown all that it can."""
        self._consider(frame)
        match frame.name:
            case "init":
                data = frame.data
                if self._mark in data["message"]["text"]:
                    self.run_id = data["runId"]
                    self._joined = frame.seq > 0
            case "user_message":
                self._joined = self._joined or self._mark in frame.data["message"]["text"]
            case "done":
                ours = not self.run_id or frame.data["runId"] == self.run_id
                self.ended = self.ended or (frame.seq > 0 and self._joined and ours)
                return self.ended or frame.seq == 0
            case _:
                pass
        return False

    async def follow(self, sent: Sent, asking: Asking, reader: Callable[..., Reader]) -> None:
        """Read to the end, on as many connections as that takes."""
        recording = Recording(sent.session_id, "reply")
        self._world.recordings.append(recording)
        for frame in sent.frames:
            if frame.seq:
                recording.add(frame)
            self.see(frame)
        ending = await reader(sent.response, recording, sent.splitter).read(self.see)
        self._world.met[f"streams {ending}"] += 1
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                while not self.ended:
                    ending = await asking.resume(recording, self.see)
                    self._world.met[f"streams {ending}"] += 1
        except TimeoutError:
            self._world.surprise(f"{self._token}: no end of its run in {FOLLOW_SECONDS:.0f} s")
