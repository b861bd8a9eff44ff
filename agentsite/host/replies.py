"""A finished run as one JSON document, and streams as HTTP responses.

Law: the only place that makes streaming responses; they hold no connection to the
database and are released even when the client leaves before the first byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from django.conf import settings
from django.http import JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from agentsite.engine import events as e
from agentsite.engine.transcript import Transcript
from agentsite.host.bus import BusStream
from agentsite.host.clock import now_ms
from agentsite.host.errors import Refusal, error_body
from agentsite.host.hub import Hub
from agentsite.host.interest import Interest, OneRun
from agentsite.host.streams import Follower
from agentsite.host.wire import HEADERS, cost_to_wire, encode_unlogged, usage_to_wire
from agentsite.rows.units import unit
from sessions_app import interactions, log, lookups


class EventStream(StreamingHttpResponse):
    """Follows a session's log as SSE."""

    def __init__(self, follower: Follower, *, replay: bool, first: bytes | None = None) -> None:
        self._follower = follower
        super().__init__(follower.frames(replay=replay, first=first), headers=HEADERS)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The frames as they are: Django's two generators around them only check for bytes."""
        return cast("AsyncIterator[bytes]", self._iterator)  # type: ignore[attr-defined]  # Django's

    def close(self) -> None:
        self._follower.close()
        super().close()


class BusResponse(StreamingHttpResponse):
    """Follows the event bus as SSE."""

    def __init__(self, stream: BusStream) -> None:
        self._stream = stream
        super().__init__(stream.frames(), headers=HEADERS)

    def close(self) -> None:
        self._stream.close()
        super().close()


def follow(hub: Hub, session_id: str, after: int, interest: Interest) -> Follower:
    """A follower that is subscribed from this moment on."""
    return Follower(hub, session_id, after, interest, settings.KEEPALIVE_SECONDS)


async def await_end(hub: Hub, session_id: str, run_id: str) -> None:
    """Follow a run until it has ended or is parked, or this process is about to end."""
    follower = follow(hub, session_id, 0, OneRun(run_id, 0.0))
    try:
        async for _ in follower.frames(replay=True):
            pass
    finally:
        follower.close()


def announce_place(session_id: str, run_id: str, message: dict[str, Any], place: int) -> bytes:
    """The `init` of a run that waits in the queue; its numbered one comes when it starts."""
    return encode_unlogged(e.Init(session_id, run_id, message, queued=place), now_ms())


async def collect(follower: Follower, *, replay: bool) -> JsonResponse:
    """Wait until the run has ended or is parked, and answer with what it said."""
    status, document = await conclude(follower, replay=replay)
    return JsonResponse(document, status=status)


async def conclude(
    follower: Follower, *, replay: bool, tell: Callable[[], Awaitable[None]] | None = None
) -> tuple[int, dict[str, Any]]:
    """What a run has come to, ended or parked: status and document.

    `tell` is called as it goes on. Raises `Refusal` 503 when the end could not be awaited.
    """
    async for _ in follower.frames(replay=replay):
        if tell is not None:  # otherwise the log is read once, when it is complete
            await tell()
    interest = follower.interest
    if not isinstance(interest, OneRun):
        raise RuntimeError("only a run can be collected")
    session_id, run_id = follower.session_id, interest.run_id
    if not (interest.ended or interest.parked):
        raise _cut_off(session_id, run_id)
    entries = await unit(read_run, session_id, run_id) if interest.begun else []
    if not interest.parked:
        return summarise(session_id, entries, _find_done(entries, run_id))
    usage, micros = await unit(lookups.spent_by_run, run_id)
    done = e.Done("awaiting_confirmation", usage, micros, run_id)
    pending = await unit(interactions.list_pending, session_id)
    return summarise(session_id, entries, done, pending)


def _cut_off(session_id: str, run_id: str) -> Refusal:
    """The process stops, or the session was deleted, before the run's end was seen."""
    text = "The answer could not be awaited here. Its run goes on: ask for the session in a moment."
    ids = {"sessionId": session_id, "runId": run_id}
    return Refusal(503, "answer_cut_off", text, ids, {"Retry-After": "1"})


def _find_done(entries: list[e.Entry], run_id: str) -> e.Done:
    for entry in entries:
        if isinstance(entry.event, e.Done) and entry.event.run_id == run_id:
            return entry.event
    raise RuntimeError(f"run {run_id} has no end")


def read_run(session_id: str, run_id: str) -> list[e.Entry]:
    """All committed events of a session that a run's answer needs."""
    entries: list[e.Entry] = []
    after = log.first_seq(run_id) - 1
    while batch := log.read(session_id, after):
        entries += batch
        after = batch[-1].seq
    return entries


def summarise(
    session_id: str,
    entries: list[e.Entry],
    done: e.Done,
    pending: list[dict[str, Any]] | None = None,
) -> tuple[int, dict[str, Any]]:
    """What `POST /chat` answers with: status and document; `pending` is what a session asks."""
    transcript = Transcript()
    failed: e.Failed | None = None
    for entry in entries:
        transcript.fold(entry)
        if isinstance(entry.event, e.Failed):
            failed = entry.event
        if isinstance(entry.event, e.Done) and entry.event.run_id == done.run_id:
            break
    ids = {"sessionId": session_id, "session_id": session_id, "runId": done.run_id}
    if failed is not None and done.reason == "error":
        return 502, {**error_body(failed.code, failed.message), **ids}
    turns = [m for m in transcript.messages if m["type"] == "assistant_text"]
    calls = [_call(call) for turn in turns for call in turn["toolCalls"]]
    return 200, {
        **ids,
        "response": "\n\n".join(turn["text"] for turn in turns if turn["text"]),
        "toolCalls": calls,
        "tool_calls": calls,
        "usage": usage_to_wire(done.usage),
        "cost": cost_to_wire(done.cost_micros),
        "reason": done.reason,
        **({"pendingInteractions": pending} if pending is not None else {}),
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "id": call["toolId"],
        "name": call["toolName"],
        "args": call["args"],
        "status": call["status"],
    }
    key = "error" if call["status"] == "error" else "result"
    return {**shown, key: call["result"]}


class Relay(StreamingHttpResponse):
    """The answer of an ASGI application, piece by piece; `stop` ends it, from any thread."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        stop: Callable[[], None],
        status: int,
        headers: dict[str, str],
    ) -> None:
        self._stop = stop
        super().__init__(pieces, status=status, headers=headers)

    def close(self) -> None:
        self._stop()
        super().close()


class Download(StreamingHttpResponse):
    """A file of staff, made piece by piece while it is sent."""

    def __init__(self, pieces: AsyncIterator[bytes], name: str) -> None:
        super().__init__(pieces, content_type="application/json")
        self["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
        self["Cache-Control"] = "no-store"
        self["X-Content-Type-Options"] = "nosniff"
