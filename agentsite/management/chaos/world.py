"""What all clients share: where to ask, what was accepted, what was recorded, when to stop."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import aiohttp
import msgspec
import psycopg

from agentsite.management.chaos.counting import CountingServer
from agentsite.management.chaos.options import Options
from agentsite.management.chaos.recording import Recording
from agentsite.management.chaos.stage import Stage

AHEAD = 0.02
"""How far messages may be ahead of kills, as a part of all."""


class Accepted(msgspec.Struct, frozen=True):
    """A message that a server has said yes to."""

    token: str
    session_id: str
    mode: str


class World:
    """The shared state of one storm. Used from the event loop only."""

    def __init__(
        self, options: Options, stage: Stage, counting: CountingServer, http: aiohttp.ClientSession
    ) -> None:
        self.options, self.stage, self.counting, self.http = options, stage, counting, http
        self.accepted: list[Accepted] = []
        self.recordings: list[Recording] = []
        self.sessions: set[str] = set()
        self.surprises: list[str] = []
        """Answers that no client should ever get."""
        self.met: Counter[str] = Counter()
        """How often clients met what, for the report."""
        self.ends_at = time.monotonic() + options.longest_storm

    def port(self, rng: random.Random) -> int:
        """Where a client asks next: mostly one that serves, sometimes one that does not."""
        webs = self.stage.webs
        up = [web for web in webs if web.up]
        return rng.choice(up if up and rng.random() < 0.85 else webs).port

    def url(self, rng: random.Random, path: str) -> str:
        return f"http://127.0.0.1:{self.port(rng)}{path}"

    @property
    def said(self) -> float:
        """The part of all messages that was accepted."""
        return len(self.accepted) / max(1, self.options.runs)

    @property
    def killed(self) -> float:
        """The part of all kills that was done."""
        return len(self.stage.kills) / self.options.kills if self.options.kills else 1.0

    @property
    def over(self) -> bool:
        """Whether everything that was wanted has happened, or its time is up."""
        whole = self.said >= 1 and self.killed >= 1
        return whole or time.monotonic() >= self.ends_at

    async def admit(self) -> bool:
        """Wait until the next message may be sent; False when there is none to send."""
        while not self.over:
            if self.said <= self.killed + AHEAD + 10 / self.options.runs:
                return True
            await asyncio.sleep(0.1)
        return False

    def surprise(self, text: str) -> None:
        """Note what must not happen."""
        self.surprises.append(text[:2000])

    async def is_behind(self, recording: Recording, of_a_run: bool) -> bool:
        """Whether a stream should have shown something by now, or have ended with its run."""
        try:
            newest, working = await asyncio.to_thread(self._look, recording.session_id)
        except psycopg.Error:
            return False
        return (recording.begun and newest > recording.last) or (of_a_run and not working)

    def _look(self, session_id: str) -> tuple[int, int]:
        """Number of a session's newest event, and how many runs it has before it."""
        with self.stage.connect(connect_timeout=2) as connection:
            row = connection.execute(
                "SELECT (SELECT max(last_seq) FROM sessions_app_eventbatch WHERE session_id = %s),"
                " (SELECT count(*) FROM sessions_app_run"
                "  WHERE session_id = %s AND status <> 'done')",
                [session_id, session_id],
            ).fetchone()
        return (row[0] or 0, row[1]) if row is not None else (0, 1)
