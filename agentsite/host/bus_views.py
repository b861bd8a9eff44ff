"""`GET /api/events`, and the same for signed-in staff: the server's event bus as SSE."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from agentsite.bus import reading
from agentsite.host.bus import BusStream
from agentsite.host.bus_storage import STAFF, scope_channel
from agentsite.host.caller import resolve_caller
from agentsite.host.edges import api
from agentsite.host.errors import Refusal
from agentsite.host.replies import BusResponse
from agentsite.host.site import site
from agentsite.host.staff import may_follow
from agentsite.host.views import read_last_event_id, read_number
from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit

OLDEST = 3600
"""Seconds that a page may have been on its way."""


@api("GET")
async def events(request: HttpRequest) -> HttpResponseBase:
    """What changes in the caller's scope, from `Last-Event-ID` or from now on.

    With `?all=1` in all scopes: for staff, and for callers of the role `ops` bound to none.
    """
    caller = await resolve_caller(request)
    known = caller.identity
    if request.GET.get("all", "0") in ("0", ""):
        channel = scope_channel(caller.scope_id)
        return _follow(channel, read_last_event_id(request), known.agents)
    if known.kind != "staff" and (known.is_bound or not known.has_role("ops")):
        text = "All scopes are for staff, and for ops keys and tokens that are bound to none."
        raise Refusal(403, "forbidden", text)
    return _follow(STAFF, read_last_event_id(request), known.agents)


@api("GET")
async def staff_events(request: HttpRequest) -> HttpResponseBase:
    """Everything that changes, for staff signed in to the admin who may look at sessions.

    From `Last-Event-ID` on, or from as many seconds ago as `?age=` says: the age of a page that
    begins to follow what it may have missed since it was made. Else from now on.
    """
    user: Any = request.user
    act_for_all("staff")
    if not await unit(may_follow, user):
        text = "Sign in to the admin as one who may look at sessions to follow all events."
        raise Refusal(403, "forbidden", text)
    after = read_last_event_id(request)
    age = read_number(request.GET.get("age"), '"age" must be a number of seconds.')
    if after is None and age is not None:
        after = await unit(reading.place_before, min(age, OLDEST))
    return _follow(STAFF, after)


def _follow(channel: str, after: int | None, agents: tuple[str, ...] = ()) -> HttpResponseBase:
    stream = BusStream(site().bus, channel, after, settings.KEEPALIVE_SECONDS, agents)
    return BusResponse(stream)
