"""A finished run as one JSON document, and streams as HTTP responses.

Law: the only place that makes streaming responses; they hold no connection to the
database and are released even when the client leaves before the first byte.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import JsonResponse, StreamingHttpResponse

from agentsite.engine import events as e
from agentsite.engine.transcript import Transcript
from agentsite.host.errors import error_body
from agentsite.host.hub import Hub
from agentsite.host.streams import Follower
from agentsite.host.wire import HEADERS, cost_to_wire, usage_to_wire
from agentsite.rows.units import unit
from sessions_app import log


class EventStream(StreamingHttpResponse):
    """Follows a session's log as SSE."""

    def __init__(self, follower: Follower, *, replay: bool) -> None:
        self._follower = follower
        super().__init__(follower.frames(replay=replay), headers=HEADERS)

    def close(self) -> None:
        self._follower.close()
        super().close()


def follow_run(hub: Hub, session_id: str, after: int, run_id: str | None) -> Follower:
    """A follower that is subscribed from this moment on."""
    return Follower(hub, session_id, after, run_id=run_id, keepalive=settings.KEEPALIVE_SECONDS)


async def collect(follower: Follower, run_id: str, *, replay: bool) -> JsonResponse:
    """Wait for the run's end and answer with what it said."""
    async for _ in follower.frames(replay=replay):
        pass  # the log is read once, when it is complete
    entries = await unit(read_run, follower.session_id, run_id)
    return summarise(follower.session_id, run_id, entries)


def read_run(session_id: str, run_id: str) -> list[e.Entry]:
    """All committed events of a session that a run's answer needs."""
    entries: list[e.Entry] = []
    after = log.first_seq(run_id) - 1
    while batch := log.read(session_id, after):
        entries += batch
        after = batch[-1].seq
    return entries


def summarise(session_id: str, run_id: str, entries: list[e.Entry]) -> JsonResponse:
    """The document that `POST /chat` answers with."""
    transcript = Transcript()
    done: e.Done | None = None
    failed: e.Failed | None = None
    for entry in entries:
        transcript.fold(entry)
        if isinstance(entry.event, e.Failed):
            failed = entry.event
        if isinstance(entry.event, e.Done) and entry.event.run_id == run_id:
            done = entry.event
            break
    ids = {"sessionId": session_id, "session_id": session_id, "runId": run_id}
    if done is None or (failed is not None and done.reason == "error"):
        code, text = (failed.code, failed.message) if failed else ("internal", "The run was lost.")
        return JsonResponse({**error_body(code, text), **ids}, status=502)
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
