"""Chat over HTTP: every surface starts or joins a run and shows the same log."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable

import msgspec
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from agentsite.host.bodies import ChatBody, parse_chat
from agentsite.host.busy import enter_busy, judge_decision
from agentsite.host.caller import resolve_caller
from agentsite.host.early import EarlyRun
from agentsite.host.edges import api, read_json_body
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.identity import Caller
from agentsite.host.interest import Answered, Interest, OneRun, Steered
from agentsite.host.lifecycle import IdempotencyKey, Wanted, enter_run
from agentsite.host.naming import Named
from agentsite.host.replies import EventStream, announce_place, collect, follow
from agentsite.host.site import Site, site
from agentsite.host.streams import Follower
from agentsite.manifest.reload import UnknownAgent
from agentsite.rows.units import unit
from sessions_app import interactions, leases, lookups
from sessions_app.actions import SessionBusy
from sessions_app.keys import KeyReused

MAX_KEY = 200
DEFAULT_GRACE = 300.0


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
    body = parse_chat(read_json_body(request))
    entrance, follower = await _begin(request, body, None)
    return EventStream(follower, replay=entrance.replay, first=entrance.first)


async def _answer(request: HttpRequest) -> HttpResponseBase:
    body = parse_chat(read_json_body(request))
    entrance, follower = await _begin(request, body, 0.0)
    return await collect(follower, replay=entrance.replay)


async def start_message(request: HttpRequest, body: ChatBody) -> tuple[str, str]:
    """Start the run of a message that nobody follows here; its session and run ids."""
    entrance, follower = await _begin(request, body, None)
    follower.close()
    return entrance.session_id, entrance.interest.run_id


async def _begin(
    request: HttpRequest, body: ChatBody, grace: float | None
) -> tuple[Entrance, Follower]:
    # Here, not in the task: the response goes on to act for this caller.
    caller = await resolve_chatter(request, body)
    if body.message is None:
        return await begin(caller, body, grace, after=read_last_event_id(request))
    return await begin(caller, body, grace, key=read_idempotency_key(request))


async def begin(
    caller: Caller,
    body: ChatBody,
    grace: float | None,
    *,
    key: IdempotencyKey | None = None,
    after: int | None = None,
) -> tuple[Entrance, Follower]:
    """Enter, listen and start for a caller that was checked. Raises `Refusal`.

    Goes on to the end even when the client leaves meanwhile: a run that was begun and not started
    would stand still until its lease has run out. `grace` is how many seconds a parked response
    stays open, None the agent's; `after` where a reader that comes back left off.
    """
    work = _enter_and_start(site(), caller, body, grace, key, after)
    beginning = asyncio.create_task(work)
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        beginning.add_done_callback(_let_go)
        raise


async def _enter_and_start(
    here: Site,
    caller: Caller,
    body: ChatBody,
    grace: float | None,
    key: IdempotencyKey | None,
    after: int | None,
) -> tuple[Entrance, Follower]:
    with EarlyRun(here.runs) as early:
        if body.message is None:
            entrance = await _join(here, body.sessionId or "", caller.scope_id, grace, after)
        else:
            entrance = await _enter(here, caller, body, grace, key, early)
        follower = follow(here.hub, entrance.session_id, entrance.after, entrance.interest)
        entrance.start()
    await asyncio.sleep(0)  # the run's request to the model leaves before our answer begins
    return entrance, follower


def _let_go(beginning: asyncio.Task[tuple[Entrance, Follower]]) -> None:
    """Nobody listens any more to what was begun."""
    if not beginning.cancelled() and beginning.exception() is None:
        beginning.result()[1].close()


class Entrance(msgspec.Struct, frozen=True):
    """Where a response enters a session's log."""

    session_id: str
    after: int
    interest: OneRun
    replay: bool
    """Read the log first; a run that begins only now has nothing there yet."""
    first: bytes | None = None
    """A frame in front of all others."""
    start: Callable[[], None] = lambda: None
    """What is to happen once the response listens."""


async def _enter(
    here: Site,
    caller: Caller,
    body: ChatBody,
    grace: float | None,
    key: IdempotencyKey | None,
    early: EarlyRun,
) -> Entrance:
    """Start the run that the body asks for."""
    here.runs.check_room(caller.scope_id)
    refusal = await judge_decision(body, caller.scope_id)
    began = time.monotonic()
    # One unit for both: every change of thread delays the first delta.
    wanted, opened = await unit(
        enter_run, here.agents, body, caller, here.owner, key, refusal, early.foresee
    )
    here.callers.learn(caller.scope_id, wanted.facts, began)
    here.callers.saw(wanted.agent.id, caller.scope_id)
    if grace is None:
        grace = wanted.agent.block.confirmation_grace
    if isinstance(opened, KeyReused):
        return await _repeat(opened, caller.scope_id, grace)
    if isinstance(opened, SessionBusy):
        return await _enter_busy(here, body, wanted, grace)
    ref = opened.ref

    def start() -> None:
        here.journal.publish_committed(ref.session_id, *opened.begun)
        if not early.admit():
            here.runs.start(opened)

    interest = OneRun(ref.run_id, grace)
    return Entrance(ref.session_id, opened.begun[0].seq - 1, interest, replay=False, start=start)


async def resolve_chatter(request: HttpRequest, body: ChatBody) -> Caller:
    """The caller of a chat request. Raises `Refusal`."""
    named = Named(body.scope_id, body.userId, body.tenantId)
    agent = body.agentId or (None if body.sessionId else site().agents.sources.default)
    # Facts that are not at hand are read where the run is opened, without a trip of their own.
    later = body.message is not None
    return await resolve_caller(
        request, named, agent=agent, session=body.sessionId, facts_later=later
    )


async def _enter_busy(here: Site, body: ChatBody, wanted: Wanted, grace: float) -> Entrance:
    try:
        place = await enter_busy(here, body, wanted, grace)
    except KeyReused as used:
        return await _repeat(used, wanted.new.scope_id, grace)
    first = None
    if place.queued is not None:
        first = announce_place(place.session_id, place.run_id, wanted.new.api_message, place.queued)
    return Entrance(place.session_id, place.after, place.interest, replay=True, first=first)


async def _repeat(used: KeyReused, scope_id: str, grace: float) -> Entrance:
    """The same request again: the same run. Raises `Refusal`."""
    if not used.same_body:
        text = "This Idempotency-Key was used with another body."
        raise Refusal(422, "idempotency_key_reused", text)
    place = await unit(lookups.place_before_run, used.run_id, scope_id)
    if place is None:
        text = "The message is just joining another run. Send the request again."
        raise Refusal(503, "message_joins", text, headers={"Retry-After": "1"})
    if place.expired:
        text = "The request was carried out before; the session has expired since. Start a new one."
        raise Refusal(410, "session_expired", text)
    # It may just have answered a question that stands in the log already.
    given = await unit(interactions.find_decided, used.run_id)
    interest: OneRun = Answered(used.run_id, grace, given=given, await_init=True)
    if place.steering:
        interest = Steered("", used.run_id, place.steering, grace)
    return Entrance(used.session_id, place.after, interest, replay=True)


async def _join(
    here: Site, session_id: str, scope_id: str, grace: float | None, after: int | None
) -> Entrance:
    """Follow the newest run of a session (the seed's way to reconnect)."""
    run = await unit(lookups.newest_run, session_id, scope_id)
    if run is None:
        raise session_not_found()
    start = run.first_seq - 1 if after is None else after
    if after is not None and run.ended and after >= run.last_seq:
        start = run.last_seq - 1  # it has seen all: at least `done` comes again
    pending = [] if run.ended else await unit(interactions.find_open, session_id, scope_id)
    asked = [row.call_id for row in pending if row.run_id == run.run_id]
    if grace is None:
        grace = await unit(_find_grace, here, run.agent)
    return Entrance(session_id, start, OneRun(run.run_id, grace, asked=asked), replay=True)


def _find_grace(here: Site, agent_id: str) -> float:
    try:
        return here.agents.current(agent_id).block.confirmation_grace
    except UnknownAgent:  # it is no longer served; its runs can still be followed
        return DEFAULT_GRACE


def read_idempotency_key(request: HttpRequest) -> IdempotencyKey | None:
    """The header with a hash of the body. Raises `Refusal` for one that is too long."""
    key = read_bare_key(request)
    return IdempotencyKey(key, hashlib.sha256(request.body).hexdigest()) if key else None


def read_bare_key(request: HttpRequest) -> str | None:
    """The header `Idempotency-Key`. Raises `Refusal` for one that is too long."""
    key = request.headers.get("idempotency-key")
    if key and (len(key) > MAX_KEY or not key.isprintable()):
        text = f"An Idempotency-Key has at most {MAX_KEY} printable characters."
        raise Refusal(400, "invalid_field", text)
    return key or None


@api("GET")
async def session_events(request: HttpRequest, session_id: str) -> HttpResponseBase:
    """`GET /sessions/{id}/events`: the log after a number, then live, for `STREAM_SECONDS`."""
    caller = await resolve_caller(request, session=session_id)
    status = await unit(lookups.session_status, session_id, caller.scope_id)
    if status is None:
        raise session_not_found()
    if status == "expired":
        raise Refusal(410, "session_expired", "The session's events were deleted when it expired.")
    after = read_last_event_id(request) or 0
    whole = Interest(settings.STREAM_SECONDS)
    return EventStream(follow(site().hub, session_id, after, whole), replay=True)


@api("POST")
async def interrupt(request: HttpRequest, session_id: str) -> HttpResponseBase:
    """`POST /sessions/{id}/interrupt`: stop the live run, if there is one. Idempotent."""
    caller = await resolve_caller(request, session=session_id)
    return JsonResponse({"ok": True, "runId": await stop_run(session_id, caller.scope_id)})


async def stop_run(session_id: str, scope_id: str) -> str | None:
    """Stop a session's live run; its id, if there was one. Raises `Refusal` 404."""
    if await unit(lookups.session_status, session_id, scope_id) is None:
        raise session_not_found()
    run_id = await unit(leases.request_interrupt, session_id)
    if run_id is not None:
        here = site()
        await here.runs.take_signals([run_id])
        await here.runs.claim(run_id)  # a parked run has no owner that could stop it
    return run_id


def read_last_event_id(request: HttpRequest) -> int | None:
    """The number after which to go on: the header, else `?after=`. Raises `Refusal`."""
    raw = request.headers.get("last-event-id") or request.GET.get("after")
    return read_number(raw, '"Last-Event-ID" must be the number of an event.')


def read_number(raw: str | None, refusal: str) -> int | None:
    """A number of at most 18 digits; None when nothing was said. Raises `Refusal`."""
    if raw is None or raw == "":
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 18):
        raise Refusal(400, "invalid_field", refusal)
    return int(raw)
