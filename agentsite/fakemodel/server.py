"""The fake model server: three vendors' addresses, scripted by what the requests say."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self

import msgspec

from agentsite.fakemodel import anthropic, embeddings, google, openai_chat, openai_responses
from agentsite.fakemodel.frames import Frames, Wire
from agentsite.fakemodel.http import Call, Connection, Script, end_body, frame_chunk, write_head
from agentsite.fakemodel.plan import BadPlan, Plan, PlannedError, find_plan

_GOOGLE = re.compile(r"/v1(?:beta1?|alpha)?/(?:.*/)?models/([^/:]+):streamGenerateContent")
_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "transfer-encoding": "chunked",
}


class Recorded(msgspec.Struct, frozen=True):
    """A request as the fake saw it; `problems` is why it was refused, if it was."""

    vendor: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    problems: tuple[str, ...] = ()


class FakeModel:
    """Serve the three vendors' wires on loopback: `async with FakeModel() as fake: fake.url`.

    `url` serves anthropic and google as base URL, `openai_url` openai. `requests` holds the
    newest `keep` requests, oldest first.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, keep: int = 1000) -> None:
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._wakers: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Transport] = set()
        self.requests: deque[Recorded] = deque(maxlen=keep)
        self.open_streams = 0
        """Responses that are being played, or hang."""
        self.left_streams = 0
        """Responses whose client went away before their end."""

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, self._host, self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for transport in list(self._connections):
                transport.abort()
            await self._server.wait_closed()

    async def serve(self) -> None:
        """Serve until cancelled."""
        if self._server is None:
            raise RuntimeError("enter the FakeModel before it serves")
        await self._server.serve_forever()

    async def wait_until(self, holds: Callable[[FakeModel], bool], seconds: float = 5.0) -> None:
        """Wait until a condition on this fake holds; TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    def _connect(self) -> Connection:
        return _Tracked(self._answer, self._note, self._connections)

    def _note(self, opened: int, left: int) -> None:
        self.open_streams += opened
        self.left_streams += left
        if self._wakers:
            return
        task = asyncio.get_running_loop().create_task(self._wake())
        self._wakers.add(task)
        task.add_done_callback(self._wakers.discard)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _answer(self, call: Call) -> Script:
        path = call.target.partition("?")[0]
        embedded = self._embed(call, path)
        if embedded is not None:
            return embedded
        found = route(path)
        if found is None or call.method != "POST":
            return plain(404, {}, b'{"error":{"type":"not_found_error","message":"No such path."}}')
        wire, model = found
        try:
            body = msgspec.json.decode(call.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return refuse(wire, PlannedError(400, message="The body is not a JSON object."))
        asked = str(body.get("model", model))
        problems = tuple(wire.check(body | {"model": asked}))
        self.requests.append(Recorded(wire.vendor, call.target, call.headers, body, problems))
        if problems:
            return refuse(wire, PlannedError(400, message="; ".join(problems)))
        turn = wire.read_turn(body)
        try:
            plan = find_plan(turn.text, turn.call, asked)
        except BadPlan as error:
            return refuse(wire, PlannedError(400, message=str(error)))
        return play(wire, plan, asked, len(call.body))

    def _embed(self, call: Call, path: str) -> Script | None:
        """The answer to a request for vectors; None for all others."""
        try:
            body = msgspec.json.decode(call.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return None
        told = embeddings.answer(path, body)
        if told is None:
            return None
        self.requests.append(Recorded("embeddings", call.target, call.headers, body))
        return plain(told[0], {}, told[1])


class _Tracked(Connection):
    """A connection that its server can find, to drop it when the fake is closed."""

    def __init__(
        self,
        answer: Callable[[Call], Script],
        on_change: Callable[[int, int], None],
        known: set[asyncio.Transport],
    ) -> None:
        super().__init__(answer, on_change)
        self._known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._known.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.discard(self._transport)
        super().connection_lost(exc)


def route(path: str) -> tuple[Wire, str] | None:
    """Return the wire of a path, and the model where the path names it."""
    if path.endswith("/v1/messages"):
        return anthropic.WIRE, ""
    if path.endswith("/chat/completions"):
        return openai_chat.WIRE, ""
    if path.endswith("/responses"):
        return openai_responses.WIRE, ""
    found = _GOOGLE.search(path)
    return (google.WIRE, found.group(1)) if found else None


def plain(status: int, headers: dict[str, str], body: bytes) -> Script:
    told = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    return Script(head=write_head(status, told), opening=body)


def refuse(wire: Wire, error: PlannedError, delay: float = 0.0) -> Script:
    headers, body = wire.refuse(error)
    answer = plain(error.status, headers, body)
    return msgspec.structs.replace(answer, delay=delay)


def play(wire: Wire, plan: Plan, model: str, size: int) -> Script:
    """Turn a plan into a script: which frames, at what pace, and how it breaks off."""
    delay = plan.slow_first_ms / 1000
    if plan.error is not None and plan.error_event_after is None:
        return refuse(wire, plan.error, delay)
    opening, steps, closing = chunked(wire, plan, model, size)
    after = "end"
    if plan.error_event_after is not None:
        steps = steps[: plan.error_event_after]
        closing = end_body(wire.error_event(plan.error or PlannedError()))
    if plan.cut_after is not None:
        steps = steps[: plan.cut_after]
        after = "cut" if plan.cut == "abort" else "end"
        closing = end_body(b"")
    if plan.silence_after is not None:
        steps, after = steps[: plan.silence_after], "hang"
    return Script(
        head=write_head(200, _STREAM_HEADERS),
        opening=opening,
        steps=steps,
        closing=closing,
        rate=plan.rate,
        delay=delay,
        after=after,
    )


def chunked(
    wire: Wire, plan: Plan, model: str, size: int
) -> tuple[bytes, tuple[bytes, ...], bytes]:
    if plan.tools or plan.thinking is not None:
        # Ids and signatures must not repeat within a history.
        return frame(wire.build(plan, model, size))
    return _cached(wire.vendor, plan, model, size)


@lru_cache(maxsize=64)
def _cached(
    vendor: str, plan: Plan, model: str, size: int
) -> tuple[bytes, tuple[bytes, ...], bytes]:
    wires = (anthropic.WIRE, openai_chat.WIRE, openai_responses.WIRE, google.WIRE)
    wire = next(wire for wire in wires if wire.vendor == vendor)
    return frame(wire.build(plan, model, size))


def frame(frames: Frames) -> tuple[bytes, tuple[bytes, ...], bytes]:
    steps = tuple(frame_chunk(delta) for delta in frames.deltas)
    return frame_chunk(frames.opening), steps, end_body(frames.closing)
