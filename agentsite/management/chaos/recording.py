"""What one client has received, over all its connections, and the reading of one stream."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import aiohttp

from agentsite.management.chaos.frames import Frame, Splitter

Ending = Literal["wanted", "cut", "broken", "closed", "silent", "stalled"]
FAILURES = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)
SILENT_SECONDS = 6.0
"""Without one byte: a live server says something every second."""
IDLE_SECONDS = 8.0
"""Without one event: look whether there is one."""
BEHIND_SECONDS = 4.0
"""How long a stream that lives may keep back what is known to be in the log."""


class Recording:
    """Frames in the order of their coming. A continued stream goes on in the same recording."""

    def __init__(self, session_id: str, kind: str, start: int | None = None):
        self.session_id, self.kind = session_id, kind
        self.start = start
        """It holds everything after this number; None until the first numbered frame."""
        self.frames: list[Frame] = []
        self.stalls: list[str] = []
        """When, where and behind which number a stream kept something back."""
        self.connections = 0

    @property
    def last(self) -> int:
        """Number of the last frame, where the next connection goes on."""
        return self.frames[-1].seq if self.frames else (self.start or 0)

    @property
    def begun(self) -> bool:
        """From here on everything in the log must come."""
        return self.start is not None

    def add(self, frame: Frame) -> None:
        if self.start is None:
            self.start = frame.seq - 1
        self.frames.append(frame)


class Reader:
    """Reads one response into a recording, and leaves it as real clients do."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        recording: Recording,
        rng: random.Random,
        is_behind: Callable[[Recording, bool], Awaitable[bool]],
        splitter: Splitter | None = None,
        of_a_run: bool = True,
    ) -> None:
        self._response, self._recording, self._rng = response, recording, rng
        self._is_behind = is_behind
        self._of_a_run = of_a_run
        self._splitter = splitter or Splitter()
        self._left = rng.randint(1, rng.choice((300, 3000, 30_000))) if rng.random() < 0.35 else -1
        self._slow = rng.random() < 0.08
        self._moved_at = time.monotonic()
        self._behind_at: float | None = None
        recording.connections += 1

    async def read(self, see: Callable[[Frame], bool]) -> Ending:
        """Read until `see` says that it has what it wanted, or until something else ends it."""
        try:
            return await self._read(see)
        except FAILURES:
            return "broken"
        finally:
            self._response.close()

    async def _read(self, see: Callable[[Frame], bool]) -> Ending:
        while True:
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    chunk = await self._response.content.readany()
            except TimeoutError:
                return "silent"
            if not chunk:
                return "closed"
            is_cut = 0 <= self._left <= len(chunk)
            if self._left >= 0:
                chunk, self._left = chunk[: self._left], self._left - len(chunk)
            if self._take(chunk, see):
                return "wanted"
            if is_cut:
                return "cut"
            if await self._is_stalled():
                now, place = time.strftime("%H:%M:%S"), self._response.url.port
                self._recording.stalls.append(f"{now}, {place}, after {self._recording.last}")
                return "stalled"
            if self._slow:
                await asyncio.sleep(self._rng.uniform(0.0, 0.3))

    def _take(self, chunk: bytes, see: Callable[[Frame], bool]) -> bool:
        wanted = False
        for frame in self._splitter.feed(chunk):
            self._moved_at, self._behind_at = time.monotonic(), None
            if frame.seq:
                self._recording.add(frame)
            wanted = see(frame) or wanted
        return wanted

    async def _is_stalled(self) -> bool:
        """Whether this stream lives, but keeps back what is in the log for seconds."""
        now = time.monotonic()
        if now - self._moved_at < IDLE_SECONDS:
            return False
        if not await self._is_behind(self._recording, self._of_a_run):
            self._moved_at, self._behind_at = now, None
            return False
        # The process may just have woken up: what it sends from now on decides.
        self._behind_at = self._behind_at or now
        return now - self._behind_at > BEHIND_SECONDS
