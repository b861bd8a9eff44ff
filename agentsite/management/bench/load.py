"""Requests and groups of streams: what the server and the model are asked in a measurement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from agentsite.management.bench.client import OF_MODEL, OF_SERVER, Answer, Line, Recorder
from agentsite.management.bench.fake import STAMP
from agentsite.management.bench.stack import MAIN, Stack

REAL_TIME = 50.0
"""Deltas per second and stream."""
RAMP = 0.0107
"""Seconds between two starts; out of step with a delta's 20 ms, so streams do not beat as one."""
PATIENCE = 120.0


class Plan(msgspec.Struct, frozen=True):
    """What the fake answers; `rate` 0 is as fast as it goes."""

    deltas: int
    rate: float = 0.0
    chars: int = STAMP

    def directive(self) -> str:
        """The text that tells the fake; titles, by the other model, are not meant."""
        told = {"deltas": self.deltas, "rate": self.rate, "chars": self.chars, "model": MAIN}
        return f"@@fake {msgspec.json.encode(told).decode()}@@"


class Way:
    """Through the server, or directly to the model: address, request, and what text looks like."""

    def __init__(self, stack: Stack, *, direct: bool) -> None:
        self.direct = direct
        self.url = stack.fake_url if direct else stack.url
        self.pattern = OF_MODEL if direct else OF_SERVER
        self._path = "/v1/messages" if direct else "/chat/stream"

    def request(self, plan: Plan) -> tuple[str, str, bytes]:
        """Method, path and body."""
        text = plan.directive()
        body: dict[str, object] = {"message": text}
        if self.direct:
            message = {"role": "user", "content": text}
            body = {"model": MAIN, "max_tokens": 8192, "stream": True, "messages": [message]}
        return "POST", self._path, msgspec.json.encode(body)

    async def line(self, recorder: Recorder | None = None) -> Line:
        """A connection this way."""
        return await Line.open(self.url, self.pattern, recorder)

    async def ask(self, line: Line, plan: Plan) -> Answer:
        """Ask for a whole answer, and make sure that it came whole."""
        async with asyncio.timeout(PATIENCE):
            answer = await line.ask(*self.request(plan))
        if answer.status != 200 or answer.characters != plan.deltas * plan.chars:
            said = answer.body[:300].decode(errors="replace")
            raise RuntimeError(
                f"an answer of {plan.deltas} deltas came with status {answer.status} and "
                f"{answer.characters} characters {said}"
            )
        return answer


@asynccontextmanager
async def streaming(
    way: Way, count: int, plan: Plan, recorder: Recorder, ramp: float = RAMP
) -> AsyncIterator[list[asyncio.Task[Answer]]]:
    """Hold `count` streams open, started one after the other; on leaving, await their ends."""
    lines: list[Line] = []
    tasks: list[asyncio.Task[Answer]] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        for place in range(count):
            # Not earlier: a server closes connections over which nothing is asked for long.
            lines.append(await way.line(recorder))
            await asyncio.sleep(began + place * ramp - loop.time())
            tasks.append(asyncio.create_task(way.ask(lines[-1], plan)))
        yield tasks
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        for line in lines:
            line.close()
