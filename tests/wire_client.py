"""A client of the API for tests: every read is bounded, every byte of a stream is kept."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

BOUND = 45.0
"""Seconds that anything may take to come, on a machine that is busy with other things."""
KEEPALIVE = b": keepalive\n\n"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CALL = {"id", "tool_id"}
_DECISION = {"action", "interactionId", "resource_type", "preview_id"}
_SPENT = {"reason", "usage", "cost", "runId"}
KEYS: dict[str, set[str]] = {
    "init": {"sessionId", "session_id", "runId", "message"},
    "user_message": {"message"},
    "messages_removed": {"runId", "messageIds"},
    "text_delta": {"delta", "content"},
    "thinking_delta": {"delta"},
    "tool_call_start": {*_CALL, "name", "tool_name", "args", "parameters"},
    "tool_call_progress": {*_CALL, "data"},
    "tool_log": {*_CALL, "tool_name", "message"},
    "tool_label_update": {*_CALL, "tool_name", "running_label", "completed_label"},
    "tool_call_result": {*_CALL, "name", "status", "result", "duration_ms"},
    "subagent_event": {"agentId", "agent_name", "parent_tool_id", "event_type", "event"},
    "kb_proposal": {"proposal", "id", "scope", "title", "reasoning", "content"},
    "skill_activated": {"skill", "skill_name"},
    "widget": {"widget_type", "data"},
    "confirmation_required": {"action", "details", "correlation_id", "interactionId"},
    "ask_user": {"ask_id", "interactionId", "questions"},
    "ask_choice": {"ask_id", "interactionId", "question", "options", "multi"},
    "approved": _DECISION,
    "denied": _DECISION,
    "compaction_start": {"estimated_tokens", "threshold"},
    "compaction_end": {"tokens_before", "tokens_after", "compaction_tokens"},
    "context_usage": {"input_tokens", "window", "used_pct"},
    "provider_switched": {"from", "to", "reason"},
    "title_changed": {"title"},
    "plan_mode": {"type", "timestamp", "action"},
    "notice": {"message", "level"},
    "run_resumed": {"attempt", "discardFrom"},
    "error": {"message", "code", "retryable"},
    "done": _SPENT,
}
"""What each event carries besides `type` and `timestamp`, as far as it exists now."""


@dataclass(frozen=True)
class Frame:
    """One SSE frame: `id` is None where it has none."""

    id: int | None
    event: str
    data: dict[str, Any]
    raw: bytes


def parse_frame(raw: bytes) -> Frame:
    """Parse one frame strictly: `id`, `event`, one line of data, in this order."""
    lines = raw.decode().split("\n")
    assert lines[-2:] == ["", ""], raw
    fields = dict(line.split(": ", 1) for line in lines[:-2])
    assert list(fields) in (["id", "event", "data"], ["event", "data"]), raw
    assert len(fields) == len(lines) - 2, raw
    number = int(fields["id"]) if "id" in fields else None
    return Frame(number, fields["event"], json.loads(fields["data"]), raw)


def cut_frames(raw: bytes) -> tuple[list[Frame], int, bytes]:
    """Whole frames, how many keepalive comments stood between them, and what is left."""
    *parts, rest = raw.split(b"\n\n")
    whole = [part + b"\n\n" for part in parts]
    frames = [parse_frame(part) for part in whole if part != KEEPALIVE]
    return frames, len(whole) - len(frames), rest


def check_shape(frame: Frame) -> Frame:
    """Every key that the wire promises for this event is there, and its time is UTC."""
    assert frame.event in KEYS, frame
    missing = KEYS[frame.event] - frame.data.keys()
    assert not missing, f"{frame.event} lacks {missing}"
    shown = "widget_type" if frame.event == "widget" else "type"
    assert frame.event == "widget" or frame.data["type"] == frame.event
    assert frame.data["type"] == frame.data[shown]
    assert TIME.fullmatch(frame.data["timestamp"]), frame.data["timestamp"]
    return frame


@dataclass
class Reply:
    """An answer that is not a stream."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["error"]["code"])


@dataclass
class Stream:
    """An open stream. `raw` is all that has come, without comments; `writes` as it came."""

    response: aiohttp.ClientResponse
    frames: list[Frame] = field(default_factory=list)
    writes: list[bytes] = field(default_factory=list)
    keepalives: int = 0
    rest: bytes = b""
    ended: bool = False
    _write: bytes = b""

    @property
    def raw(self) -> bytes:
        return b"".join(frame.raw for frame in self.frames)

    @property
    def session_id(self) -> str:
        return str(self.frames[0].data["sessionId"])

    @property
    def run_id(self) -> str:
        return str(self.frames[0].data["runId"])

    @property
    def last_id(self) -> int:
        return max((frame.id or 0 for frame in self.frames), default=0)

    async def _read(self) -> bool:
        """Read on; False at the end."""
        data, whole = await self.response.content.readchunk()
        if not data and not whole:
            self.ended = True
            return False
        self._write += data
        if whole and self._write:
            self.writes.append(self._write)
            self._write = b""
        frames, comments, self.rest = cut_frames(self.rest + data)
        self.frames += [check_shape(frame) for frame in frames]
        self.keepalives += comments
        return True

    async def until(self, holds: Callable[[Stream], bool], seconds: float = BOUND) -> Stream:
        """Read until something holds; fails at the end of the stream."""
        async with asyncio.timeout(seconds):
            while not holds(self):
                assert await self._read(), f"ended with {[f.event for f in self.frames]}"
        return self

    async def event(self, name: str, count: int = 1) -> Frame:
        """Read until so many events of a name have come; the last of them."""
        await self.until(lambda stream: len(stream.all(name)) >= count)
        return self.all(name)[count - 1]

    async def to_end(self, seconds: float = BOUND) -> Stream:
        """Read until the server ends it; the last frame is `done`."""
        async with asyncio.timeout(seconds):
            while await self._read():
                pass
        assert self.rest == b""
        assert self.frames and self.frames[-1].event == "done", [f.event for f in self.frames]
        return self

    async def to_close(self, seconds: float = BOUND) -> Stream:
        """Read until the connection is closed, wherever in the run that is."""
        async with asyncio.timeout(seconds):
            try:
                while await self._read():
                    pass
            except aiohttp.ClientPayloadError:  # the process has ended first
                self.ended = True
        return self

    def all(self, name: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.event == name]

    @property
    def events(self) -> list[str]:
        return [frame.event for frame in self.frames]

    @property
    def text(self) -> str:
        return "".join(frame.data["delta"] for frame in self.all("text_delta"))

    @property
    def reason(self) -> str:
        """Of a stream that has come to its end."""
        return str(self.all("done")[-1].data["reason"])  # a title may come behind it


class Client:
    """Talks to one server. `agent` is the one of its agents that is meant."""

    def __init__(self, http: aiohttp.ClientSession, url: str, agent: str = "plain") -> None:
        self.http, self.url, self.agent = http, url, agent

    def of(self, agent: str) -> Client:
        """The same server, another agent."""
        return Client(self.http, self.url, agent)

    def body(self, message: Any, session_id: str | None = None, **more: Any) -> dict[str, Any]:
        given = {"message": message, "sessionId": session_id, "agentId": self.agent, **more}
        return {key: value for key, value in given.items() if value is not None}

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Any request; a body that is not bytes is sent as JSON."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            names.setdefault("content-type", "application/json")
        data = body if isinstance(body, bytes | io.IOBase | None) else json.dumps(body).encode()
        async with asyncio.timeout(BOUND):
            answer = await self.http.request(method, self.url + path, data=data, headers=names)
            async with answer:
                return Reply(answer.status, dict(answer.headers), await answer.read())

    async def get(self, path: str) -> Any:
        """The JSON of a page that is there."""
        reply = await self.ask("GET", path)
        assert reply.status == 200, reply.raw
        return reply.json

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        return await self.ask("POST", path, body, **headers)

    async def say(self, message: Any, session_id: str | None = None, **more: Any) -> Any:
        """The JSON answer to a message."""
        reply = await self.post("/chat/sync", self.body(message, session_id, **more))
        assert reply.status == 200, reply.raw
        return reply.json

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> AsyncIterator[Stream]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with asyncio.timeout(BOUND):
            response = await self.http.request(
                method, self.url + path, json=body, headers=names, max_line_size=65536
            )
        try:
            assert response.status == 200, await response.read()
            assert response.headers["content-type"] == "text/event-stream"
            yield Stream(response)
        finally:
            response.close()

    def stream(
        self, message: Any, session_id: str | None = None, *, headers: Any = None, **more: Any
    ) -> Any:
        """Open the stream of a message: `async with client.stream("hi") as stream:`."""
        body = self.body(message, session_id, **more)
        return self._open("POST", "/chat/stream", body, headers or {})

    def follow(self, session_id: str, after: int | None = None, **headers: str) -> Any:
        """Open `/sessions/{id}/events` after an event."""
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        return self._open("GET", f"/sessions/{session_id}/events", None, headers)

    async def talk(self, message: Any, session_id: str | None = None, **more: Any) -> Stream:
        """Send a message and read its stream to the end."""
        async with self.stream(message, session_id, **more) as stream:
            return await stream.to_end()  # type: ignore[no-any-return]  # a Stream

    async def answer(self, session_id: str, **body: Any) -> Reply:
        return await self.post("/ask-user-response", {"sessionId": session_id, **body})

    async def detail(self, session_id: str) -> Any:
        return await self.get(f"/sessions/{session_id}")


async def eventually(
    check: Callable[[], Awaitable[Any]], seconds: float = BOUND, pause: float = 0.03
) -> Any:
    """Look again and again at something that nobody announces; its first true value."""
    ends = asyncio.get_running_loop().time() + seconds
    while not (found := await check()):
        assert asyncio.get_running_loop().time() < ends, "it did not come true in time"
        again = asyncio.Event()
        asyncio.get_running_loop().call_later(pause, again.set)
        await again.wait()
    return found
