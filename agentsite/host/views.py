"""Chat over HTTP: every surface starts or joins a run and shows the same log."""

from __future__ import annotations

import logging

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from agentsite.host.bodies import ChatBody, parse_chat
from agentsite.host.caller import resolve_caller
from agentsite.host.edges import api, read_json_body
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.lifecycle import open_run
from agentsite.host.replies import EventStream, collect, follow_run
from agentsite.host.site import Site, site
from agentsite.host.streams import Follower
from agentsite.rows.units import unit
from sessions_app import leases, lookups

logger = logging.getLogger(__name__)


@api("POST")
async def chat(request: HttpRequest) -> HttpResponseBase:
    """`POST /chat`: the whole answer as JSON, or SSE for whoever accepts that."""
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _stream(request)
    return await _answer(request)


@api("POST")
async def chat_stream(request: HttpRequest) -> HttpResponseBase:
    """`POST /chat/stream`: the run's events as SSE."""
    return await _stream(request)


@api("POST")
async def chat_sync(request: HttpRequest) -> HttpResponseBase:
    """`POST /chat/sync`: always JSON."""
    return await _answer(request)


async def _stream(request: HttpRequest) -> HttpResponseBase:
    here = site()
    body = parse_chat(read_json_body(request))
    follower, _, replay = await _begin_or_join(here, request, body)
    return EventStream(follower, replay=replay)


async def _answer(request: HttpRequest) -> HttpResponseBase:
    here = site()
    body = parse_chat(read_json_body(request))
    follower, run_id, replay = await _begin_or_join(here, request, body)
    return await collect(follower, run_id, replay=replay)


async def _begin_or_join(
    here: Site, request: HttpRequest, body: ChatBody
) -> tuple[Follower, str, bool]:
    """A follower of the run that the body starts or names, and whether to read the log first."""
    caller = resolve_caller(request, body.scope_id)
    if body.message is None:
        return await _join(here, request, body.sessionId or "", caller.scope_id)
    here.runs.check_room()
    opened = await unit(open_run, here.agents, body, caller.scope_id, here.owner)
    ref, init = opened.ref, opened.init
    if init is None:
        raise RuntimeError("a run was begun without its init")
    follower = follow_run(here.hub, ref.session_id, init.seq - 1, ref.run_id)
    here.journal.publish_committed(ref.session_id, init)
    here.runs.start(opened)
    return follower, ref.run_id, False


async def _join(
    here: Site, request: HttpRequest, session_id: str, scope_id: str
) -> tuple[Follower, str, bool]:
    """Follow the newest run of a session (the seed's way to reconnect)."""
    run = await unit(lookups.newest_run, session_id, scope_id)
    if run is None:
        raise session_not_found()
    after = read_last_event_id(request)
    start = run.first_seq - 1 if after is None else max(after, 0)
    if after is not None and run.ended and after >= run.last_seq:
        start = run.last_seq - 1  # it has seen all: at least `done` comes again
    return follow_run(here.hub, session_id, start, run.run_id), run.run_id, True


@api("GET")
async def session_events(request: HttpRequest, session_id: str) -> HttpResponseBase:
    """`GET /sessions/{id}/events`: the log after a number, then live."""
    caller = resolve_caller(request)
    status = await unit(lookups.session_status, session_id, caller.scope_id)
    if status is None:
        raise session_not_found()
    if status == "expired":
        raise Refusal(410, "session_expired", "The session's events were deleted when it expired.")
    after = read_last_event_id(request) or 0
    return EventStream(follow_run(site().hub, session_id, after, None), replay=True)


@api("POST")
async def interrupt(request: HttpRequest, session_id: str) -> HttpResponseBase:
    """`POST /sessions/{id}/interrupt`: stop the live run, if there is one. Idempotent."""
    caller = resolve_caller(request)
    if await unit(lookups.session_status, session_id, caller.scope_id) is None:
        raise session_not_found()
    run_id = await unit(leases.request_interrupt, session_id)
    if run_id is not None:
        await site().runs.take_signals([run_id])
    return JsonResponse({"ok": True, "runId": run_id})


def read_last_event_id(request: HttpRequest) -> int | None:
    """The number after which to go on: the header, else `?after=`. Raises `Refusal`."""
    raw = request.headers.get("last-event-id") or request.GET.get("after")
    if raw is None or raw == "":
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 18):
        raise Refusal(400, "invalid_field", '"Last-Event-ID" must be the number of an event.')
    return int(raw)
