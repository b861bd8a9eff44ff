"""Sessions over REST: list, read, change, delete, snapshot, attachments.

Law: what is read together is read from one snapshot. Foreign and unknown sessions
get the same 404. A change of title goes through the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from agentsite.host import session_schema as schema
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.identity import Caller
from agentsite.host.rest import ApiView, encode_json, json_answer
from agentsite.host.session_fields import SessionChange, SessionQuery, StateQuery
from agentsite.host.session_json import detail_to_api, run_to_api, session_to_api
from agentsite.host.site import Site, site
from agentsite.host.wire import entry_to_api
from agentsite.rows.units import snapshot_unit, unit
from sessions_app import expiry, leases, queue, reading
from sessions_app.actions import SessionBusy
from sessions_app.models import Session
from sessions_app.projection import Conversation, project, read_log

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a deletion waits for the live run's own end."""
TITLE_SECONDS = 1.5
"""How long a new title waits for the live run, in whose log it has to stand."""
MAX_EVENTS = 20_000
"""Events in one snapshot; the rest comes over `/events`."""
EMPTY = Conversation([], [], None, 0)


class SessionList(ApiView):
    """`/sessions`"""

    @extend_schema(**schema.LIST)
    async def get(self, request: Request) -> HttpResponse:
        """The caller's sessions, newest first."""
        query = self.read_query(SessionQuery)
        return json_answer(await unit(_list, self.caller, query))


def _list(caller: Caller, query: dict[str, Any]) -> bytes:
    try:
        page, cursor = reading.list_sessions(caller.scope_id, query, caller.identity.agents)
    except reading.BadCursor as error:
        raise Refusal(400, "invalid_field", '"cursor" is not one of this server.') from error
    return encode_json({"sessions": [session_to_api(row) for row in page], "nextCursor": cursor})


class SessionDetail(ApiView):
    """`/sessions/{id}`"""

    @extend_schema(**schema.READ)
    async def get(self, request: Request, session_id: str) -> HttpResponse:
        """The session with its messages."""
        return json_answer(await snapshot_unit(_read, session_id, self.scope_id))

    @extend_schema(**schema.REPLACE)
    async def put(self, request: Request, session_id: str) -> HttpResponse:
        """The same as PATCH."""
        return await self.patch(request, session_id)

    @extend_schema(**schema.CHANGE)
    async def patch(self, request: Request, session_id: str) -> HttpResponse:
        """Change title, tags, metadata, or archive; what is absent stays."""
        await change(session_id, self.scope_id, self.read_body(SessionChange))
        return json_answer(await unit(_describe, session_id, self.scope_id))

    @extend_schema(**schema.DELETE)
    async def delete(self, request: Request, session_id: str) -> HttpResponse:
        """Delete the conversation for good; a live run is stopped first."""
        await remove(session_id, self.scope_id)
        return HttpResponse(status=204)


def _read(session_id: str, scope_id: str) -> bytes:
    row, conversation = load(session_id, scope_id)
    return encode_json(detail_to_api(row, conversation))


def load(session_id: str, scope_id: str) -> tuple[Session, Conversation]:
    """A session and its conversation; of an expired one nothing is left. Raises `Refusal`."""
    row = find(session_id, scope_id)
    return row, EMPTY if row.status == Session.Status.EXPIRED else project(row)


def find(session_id: str, scope_id: str) -> Session:
    """The session, or the refusal that all foreign and unknown ids get."""
    row = None if "\x00" in session_id else reading.find_session(session_id, scope_id)
    if row is None:
        raise session_not_found()
    return row


def _describe(session_id: str, scope_id: str) -> bytes:
    row = find(session_id, scope_id)
    return encode_json({**session_to_api(row), "metadata": row.metadata})


async def change(session_id: str, scope_id: str, changes: dict[str, Any]) -> None:
    """Apply a checked change. Raises `Refusal`."""
    title = changes.pop("title", None)
    await unit(_change, session_id, scope_id, changes)
    if title is not None:
        await site().runs.rename(session_id, title, TITLE_SECONDS)


def _change(session_id: str, scope_id: str, changes: dict[str, Any]) -> None:
    find(session_id, scope_id)
    try:
        if not reading.change_session(session_id, scope_id, **changes):
            raise session_not_found()
    except reading.SessionExpired as error:
        text = "The session has expired and cannot be changed any more."
        raise Refusal(410, "session_expired", text) from error
    except SessionBusy as error:
        text = "The session has a run under way. Stop it before you archive the session."
        raise Refusal(409, "session_busy", text) from error


async def remove(session_id: str, scope_id: str) -> None:
    """Stop a live run, then delete the session. Raises `Refusal`."""
    await unit(find, session_id, scope_id)
    try:
        deleted = await unit(expiry.delete_session, session_id, scope_id)
    except expiry.StillLive:
        await _stop_run(site(), session_id)
        deleted = await unit(expiry.delete_session, session_id, scope_id, even_if_live=True)
    if not deleted:
        raise session_not_found()


async def _stop_run(here: Site, session_id: str) -> None:
    """Interrupt and wait for the end, so that those who listen hear of it; not for ever."""
    subscriber = here.hub.subscribe(session_id)
    try:
        await unit(expiry.empty_queue, session_id)
        run_id = await unit(leases.request_interrupt, session_id)
        if run_id is not None:
            await here.runs.take_signals([run_id])
            await here.runs.claim(run_id)  # a parked run has no owner that could stop it
        async with asyncio.timeout(STOP_SECONDS):
            while await unit(expiry.is_live, session_id):
                await subscriber.wait()
                subscriber.behind = False
    except TimeoutError:
        logger.warning("session %s is deleted while its run goes on", session_id)
    finally:
        here.hub.unsubscribe(subscriber)


class SessionState(ApiView):
    """`/sessions/{id}/state`"""

    @extend_schema(**schema.STATE)
    async def get(self, request: Request, session_id: str) -> HttpResponse:
        """Where the session stands, and its events after `since`: one consistent read."""
        since = self.read_query(StateQuery)["since"]
        return json_answer(await snapshot_unit(_read_state, session_id, self.scope_id, since))


def _read_state(session_id: str, scope_id: str, since: int) -> bytes:
    row, conversation = load(session_id, scope_id)
    gone = row.status == Session.Status.EXPIRED
    entries = [] if gone else read_log(session_id, since, MAX_EVENTS)
    waiting = queue.list_queue(session_id)
    state = {
        "id": row.pk,
        "title": row.title,
        "status": row.status,
        **run_to_api(conversation.run),
        "pendingInteractions": conversation.pending,
        "queue": waiting,
        "events": [entry_to_api(entry) for entry in entries],
        # Where to go on, also when there is more than one answer holds.
        "lastSeq": entries[-1].seq if entries else conversation.last_seq,
    }
    return encode_json(state)


class SessionAttachment(ApiView):
    """`/sessions/{id}/attachments/{attachment_id}`"""

    @extend_schema(**schema.ATTACHMENT)
    async def get(self, request: Request, session_id: str, attachment_id: str) -> HttpResponse:
        """An image that a user sent."""
        if "\x00" in session_id + attachment_id:
            raise session_not_found()
        row = await unit(reading.find_attachment, session_id, self.scope_id, attachment_id)
        if row is None:
            raise Refusal(404, "attachment_not_found", "There is no such attachment.")
        return HttpResponse(
            bytes(row.data),
            content_type=row.media_type,
            headers={
                "Cache-Control": "private, max-age=31536000, immutable",
                "X-Content-Type-Options": "nosniff",
                "Content-Disposition": "inline",
            },
        )
