"""A finished run as one JSON document, and streams as HTTP responses.

Law: the only place that makes streaming responses; they hold no connection to the
database and are released even when the client leaves before the first byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from django.conf import settings
from django.http import JsonResponse, StreamingHttpResponse

from agentsite.engine import events as e
from agentsite.engine.transcript import Transcript
from agentsite.host.clock import now_ms
from agentsite.host.errors import error_body
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


def follow(hub: Hub, session_id: str, after: int, interest: Interest) -> Follower:
    """A follower that is subscribed from this moment on."""
    return Follower(hub, session_id, after, interest, settings.KEEPALIVE_SECONDS)


def announce_place(session_id: str, run_id: str, message: dict[str, Any], place: int) -> bytes:
    """The `init` of a run that waits in the queue; its numbered one comes when it starts."""
    return encode_unlogged(e.Init(session_id, run_id, message, queued=place), now_ms())


async def collect(follower: Follower, *, replay: bool) -> JsonResponse:
    """Wait until the run has ended or is parked, and answer with what it said."""
    async for _ in follower.frames(replay=replay):
        pass  # the log is read once, when it is complete
    interest = follower.interest
    if not isinstance(interest, OneRun):
        raise RuntimeError("only a run can be collected")
    session_id, run_id = follower.session_id, interest.run_id
    entries = await unit(read_run, session_id, run_id) if interest.begun else []
    if not interest.parked:
        return summarise(session_id, entries, _find_done(entries, run_id))
    usage, micros = await unit(lookups.spent_by_run, run_id)
    done = e.Done("awaiting_confirmation", usage, micros, run_id)
    pending = await unit(interactions.list_pending, session_id)
    return summarise(session_id, entries, done, pending)


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
) -> JsonResponse:
    """The document that `POST /chat` answers with; `pending` is what a parked session asks."""
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
        return JsonResponse({**error_body(failed.code, failed.message), **ids}, status=502)
    turns = [m for m in transcript.messages if m["type"] == "assistant_text"]
    calls = [_call(call) for turn in turns for call in turn["toolCalls"]]
    return JsonResponse(
        {
            **ids,
            "response": "\n\n".join(turn["text"] for turn in turns if turn["text"]),
            "toolCalls": calls,
            "tool_calls": calls,
            "usage": usage_to_wire(done.usage),
            "cost": cost_to_wire(done.cost_micros),
            "reason": done.reason,
            **({"pendingInteractions": pending} if pending is not None else {}),
        }
    )


def _call(call: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "id": call["toolId"],
        "name": call["toolName"],
        "args": call["args"],
        "status": call["status"],
    }
    key = "error" if call["status"] == "error" else "result"
    return {**shown, key: call["result"]}
