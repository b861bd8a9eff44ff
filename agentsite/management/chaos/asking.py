"""Requests as careful clients make them: again on another process until there is an answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from agentsite.management.chaos.frames import Frame, Splitter
from agentsite.management.chaos.recording import FAILURES, SILENT_SECONDS, Ending, Reader, Recording
from agentsite.management.chaos.world import World

TRY_SECONDS = 60.0
PASSING = frozenset({500, 503})
"""Answers after which the same request is sent again."""


class Refused(msgspec.Struct, frozen=True):
    """An answer that is a no."""

    status: int
    code: str
    body: dict[str, Any]


class Sent(msgspec.Struct, frozen=True):
    """A message that was taken, and the stream that shows what becomes of it."""

    response: aiohttp.ClientResponse
    session_id: str
    splitter: Splitter
    frames: list[Frame]
    """What has come of it already."""


class Asking:
    """One client's requests."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world, self._rng = world, rng

    async def post_stream(self, body: dict[str, Any], key: str | None) -> Sent | Refused | None:
        """Send a message; None when nobody knows whether it was taken (only without a key)."""
        until = time.monotonic() + TRY_SECONDS
        while time.monotonic() < until:
            try:
                answer = await self._try_stream(body, key)
            except FAILURES:
                answer = None
            if answer is not None:
                return answer
            if key is None:
                return None
            await asyncio.sleep(self._rng.uniform(0.1, 0.6))
        self._world.surprise(f"no answer within {TRY_SECONDS:.0f} s to a message with key {key}")
        return None

    async def _try_stream(self, body: dict[str, Any], key: str | None) -> Sent | Refused | None:
        headers = {"Idempotency-Key": key} if key else {}
        url = self._world.url(self._rng, "/chat/stream")
        async with asyncio.timeout(SILENT_SECONDS):
            response = await self._world.http.post(url, json=body, headers=headers)
        if response.status != 200:
            return await self._read_refusal(response)
        splitter = Splitter()
        if "sessionId" in body:
            return Sent(response, body["sessionId"], splitter, [])
        frames: list[Frame] = []
        while not frames:
            async with asyncio.timeout(SILENT_SECONDS):
                chunk = await response.content.readany()
            if not chunk:
                return None
            frames = splitter.feed(chunk)
        return Sent(response, frames[0].data["sessionId"], splitter, frames)

    async def _read_refusal(self, response: aiohttp.ClientResponse) -> Refused | None:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                body = await response.json(content_type=None)
            refused = Refused(response.status, body["error"]["code"], body)
        except (ValueError, TypeError, KeyError):
            self._world.surprise(f"{response.status} without an error in JSON")
            return None
        finally:
            response.close()
        if refused.status in PASSING:
            self._world.met[f"{refused.status} {refused.code}"] += 1
            if refused.code == "internal":
                self._world.surprise(f"{response.method} {response.url.path}: {refused}")
            return None
        return refused

    async def resume(self, recording: Recording, see: Callable[[Frame], bool]) -> Ending:
        """Go on behind the last frame that was seen, on some process."""
        await asyncio.sleep(self._rng.uniform(0, 0.3))
        headers, path = {}, f"/sessions/{recording.session_id}/events"
        recording.start = recording.start or 0
        if self._rng.random() < 0.5:
            path += f"?after={recording.last}"
        else:
            headers["Last-Event-ID"] = str(recording.last)
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                url = self._world.url(self._rng, path)
                response = await self._world.http.get(url, headers=headers)
            if response.status != 200:
                refused = await self._read_refusal(response)
                if refused is not None:
                    self._world.surprise(f"events of {recording.session_id}: {refused}")
                return "broken"
        except FAILURES:
            return "broken"
        world, rng = self._world, self._rng
        reader = Reader(response, recording, rng, world.is_behind, of_a_run=False)
        return await reader.read(see)

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, key: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One request that may be repeated: status and JSON; status 0 when nobody answered."""
        until = time.monotonic() + TRY_SECONDS
        headers = {"Idempotency-Key": key} if key else {}
        while time.monotonic() < until:
            url = self._world.url(self._rng, path)
            try:
                async with asyncio.timeout(TRY_SECONDS / 2):
                    async with self._world.http.request(
                        method, url, json=body, headers=headers
                    ) as response:
                        if response.status == 200:
                            found: dict[str, Any] = await response.json()
                            return 200, found
                        refused = await self._read_refusal(response)
                if refused is not None:
                    return refused.status, refused.body
            except FAILURES:
                self._world.met["requests without an answer"] += 1
            await asyncio.sleep(self._rng.uniform(0.1, 0.6))
        return 0, {}
