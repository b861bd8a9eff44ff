"""What the buttons do: run, pause, resume, back to the file, replays, the test sender."""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.contrib import messages
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode

from agentsite.delivery.signing import BadSecret
from agentsite.host.errors import Refusal
from agentsite.host.interest import OneRun
from agentsite.host.replies import EventStream, follow
from agentsite.host.site import site
from agentsite.host.views import read_last_event_id
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import UnknownAgent
from agentsite.rows.secrets import SecretLost
from agentsite.rows.tenancy import act_for
from agentsite.rows.units import unit
from automations_app import rest, starting, webhooks
from automations_app.deliveries import TargetChanged
from automations_app.due import NOT_HERE
from automations_app.inbound import BadEvent
from automations_app.live import learn
from automations_app.models import Automation, AutomationRun, Delivery, InboundDelivery
from automations_app.staff import editing
from automations_app.staff.doors import staff_page
from automations_app.staff.signing import sign_like_sender

Act = Callable[[HttpRequest, Automation], Awaitable[str | None]]
"""Does it; returns the address to go to, None for the automation's own page."""


@staff_page("change", "POST")
async def act(request: HttpRequest, key: int, verb: str) -> HttpResponseBase:
    """`/automations/<key>/<verb>/`: one of `ACTS`."""
    row = await unit(get_object_or_404, Automation, pk=key)
    do = ACTS.get(verb)
    if do is None:
        return HttpResponse(status=404)
    there = await do(request, row)
    return HttpResponseRedirect(there or reverse("automation", args=[key]))


async def _run(request: HttpRequest, row: Automation) -> str | None:
    """Start it in each of its partitions; the first run is shown live."""
    user: Any = request.user

    def begin() -> list[str]:
        with transaction.atomic():
            begun = [
                starting.begin(
                    row.pk,
                    cause=AutomationRun.Cause.MANUAL,
                    scope_id=partition,
                    requested_by=user.get_username(),
                )
                for partition in starting.partitions_of(row)
            ]
            if begun:
                editing.note(user, row, "automation.run", {"cause": "manual", "runs": len(begun)})
        return begun

    begun = await unit(begin)
    if not begun:
        messages.error(request, "No scope is known yet in which it could run.")
        return None
    for each in begun:
        await starting.start(each)
    return reverse("automation-run", args=[begun[0]])


async def _pause(request: HttpRequest, row: Automation) -> None:
    await unit(editing.turn, row, request.user, paused=True)


async def _resume(request: HttpRequest, row: Automation) -> None:
    await unit(editing.turn, row, request.user, paused=False)


async def _revert(request: HttpRequest, row: Automation) -> None:
    """Back to the file, if there still is one."""
    try:
        bundle = (await unit(site().agents.current, row.agent)).bundle
    except UnknownAgent:
        messages.error(request, f"{NOT_HERE} Go back to its file on a server with that agent.")
        return
    except ManifestError as problem:
        messages.error(request, f"The agent's files have errors: {problem}")
        return
    if all(file.name != row.name for file in bundle.automations):
        messages.error(request, "Its file is gone; there is nothing to go back to.")
        return
    await unit(editing.forget_changes, row, request.user)
    await unit(learn, row.agent, bundle)
    messages.success(request, "It is as its file says again.")


async def _send_test(request: HttpRequest, row: Automation) -> None:
    """Send its own webhook what a sender would send, signed with the stored secret."""
    body = request.POST.get("body", "").encode()
    try:
        json.loads(body or b"null")
    except ValueError as problem:
        messages.error(request, f"The body is not JSON: {problem}.")
        return
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    try:
        headers |= _sign(row, body)
    except (BadSecret, SecretLost) as problem:
        messages.error(request, f"The test could not be signed. {problem}")
        return
    await unit(editing.note, request.user, row, "automation.tested", {"bytes": len(body)})
    answer = await webhooks.receive(as_request(row, headers, body), row.name)
    told = json.loads(getattr(answer, "content", b"{}"))
    words = f"The webhook answered {answer.status_code}: {json.dumps(told)}"
    level = messages.SUCCESS if answer.status_code < 300 else messages.ERROR
    messages.add_message(request, level, words)


def _sign(row: Automation, body: bytes) -> dict[str, str]:
    """Headers of its sender; none where anybody may send. Raises `BadSecret`, `SecretLost`."""
    if row.webhook_auth is None or row.webhook_secret is None:
        return {}
    secret, message_id = row.webhook_secret.open(), f"test_{secrets.token_hex(8)}"
    return sign_like_sender(row.webhook_auth, secret, message_id, int(time.time()), body)


def as_request(row: Automation, headers: dict[str, str], body: bytes) -> HttpRequest:
    """A request to the automation's webhook, as the server would see it."""
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/webhooks/{row.name}",
        "query_string": urlencode({"agentId": row.agent}).encode(),
        "headers": [*sent, (b"content-length", str(len(body)).encode())],
    }
    return ASGIRequest(scope, io.BytesIO(body))


ACTS: dict[str, Act] = {
    "run": _run,
    "pause": _pause,
    "resume": _resume,
    "revert": _revert,
    "test": _send_test,
}


@staff_page("change", "POST")
async def replay_inbound(request: HttpRequest, key: int) -> HttpResponseBase:
    """`/automations/inbound/<id>/replay/`: run once more on the original payload."""
    user: Any = request.user
    row = await unit(
        lambda: get_object_or_404(InboundDelivery.objects.select_related("automation"), pk=key)
    )
    try:
        begun = await unit(editing.replay_inbound, row, user)
    except BadEvent as problem:
        messages.error(request, str(problem))
        return HttpResponseRedirect(reverse("automation", args=[row.automation_id]))
    await starting.start(begun)
    return HttpResponseRedirect(reverse("automation-run", args=[begun]))


@staff_page("change", "POST")
async def replay_delivery(request: HttpRequest, key: str) -> HttpResponseBase:
    """`/automations/deliveries/<id>/replay/`: send a dead letter again."""
    rows = Delivery.objects.select_related("automation")
    row = await unit(lambda: get_object_or_404(rows, pk=key))
    try:
        if await unit(editing.send_again, row, request.user):
            messages.success(request, "It is on its way again.")
        else:
            messages.error(request, "It is not a dead letter any more.")
    except (TargetChanged, SecretLost) as problem:
        messages.error(request, str(problem))
    return HttpResponseRedirect(reverse("automation", args=[row.automation_id]))


@staff_page("view", "GET")
async def run_events(request: HttpRequest, key: str) -> HttpResponseBase:
    """`/automations/runs/<id>/events/`: the run's events as SSE, for its page."""

    def find() -> tuple[tuple[str, str, int] | None, str]:
        run = get_object_or_404(AutomationRun.objects.only("scope_id"), pk=key)
        return rest.find_started(key), run.scope_id

    try:
        seen = read_last_event_id(request)
    except Refusal as refusal:
        return refusal.response()
    place, partition = await unit(find)
    if place is None:
        return JsonResponse({"error": "This run has not started yet."}, status=404)
    session_id, run_id, before = place
    after = max(before, seen or 0)
    act_for(partition)
    return EventStream(follow(site().hub, session_id, after, OneRun(run_id, 0.0)), replay=True)
