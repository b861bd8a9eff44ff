"""`POST /webhooks/<automation>`: who sends is believed by the signature, and by nothing else.

Law: what is answered is stored (`admission.py`); a sender that leaves undoes nothing. Nobody
chooses a partition here.
"""

from __future__ import annotations

import asyncio
import contextlib

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from agentsite.host.edges import api
from agentsite.host.errors import Refusal
from agentsite.host.site import Site, site
from agentsite.rows.tenancy import act_for_all, acting_for_all
from agentsite.rows.units import unit
from automations_app import answers, inbound, intake, starting, yielding
from automations_app.admission import Admitted, Again, Arrived, not_found
from automations_app.answers import Answer
from automations_app.booking import Incoming, book
from automations_app.events import show_event
from automations_app.inbound import BadEvent
from automations_app.models import InboundDelivery
from automations_app.waiting import wait_for_end

ASYNC = "respond-async"


@api("POST")
async def receive(request: HttpRequest, name: str | None = None) -> HttpResponseBase:
    """`POST /webhooks/{name}`, and `POST /webhooks` whose body names the automation."""
    act_for_all("an automation decides on the partition of its runs")
    here = site()
    arrived = read_request(here, request, name)
    admitting = asyncio.create_task(_admit_and_start(here, arrived))
    admitted = await asyncio.shield(admitting)  # a sender that leaves undoes nothing
    if admitted.answer is not None:
        return _respond(admitted.answer)
    if admitted.again is not None:
        return _respond(await unit(settle_again, admitted.again))
    for run_id in admitted.runs:
        with contextlib.suppress(Refusal):  # this process stops: it is told that the run goes on
            await wait_for_end(run_id)
    return _respond(await unit(answers.settle, admitted.inbound_id))


def _respond(answer: Answer) -> JsonResponse:
    return JsonResponse(answer.body, status=answer.status)


def read_request(here: Site, request: HttpRequest, name: str | None) -> Arrived:
    """What came, and which automation it means. Raises `Refusal`."""
    agent = request.GET.get("agentId")
    if name is None:
        try:
            name, named = inbound.read_named(request.body)
        except BadEvent as error:
            raise Refusal(400, "invalid_event", str(error)) from None
        agent = agent or named
    path = inbound.BARE if request.path.rstrip("/") == inbound.BARE else request.path
    return Arrived(
        agent=agent or here.agents.sources.default,
        name=name,
        path=path,
        headers=request.headers,
        body=request.body,
        wants_async=ASYNC in request.headers.get("prefer", "").lower(),
    )


async def _admit_and_start(here: Site, arrived: Arrived) -> Admitted:
    if arrived.agent not in here.agents.sources.sources:
        raise not_found(arrived.name)
    with yielding.admitting():
        admitted = await intake.take(arrived)
    for run_id in admitted.runs:
        if admitted.answer is None:
            await starting.start(run_id)
        else:
            here.runs.spawn(yielding.start(here, run_id))
    return admitted


def settle_again(again: Again) -> Answer:
    """What is answered to a delivery that was here before. Synchronous. Raises `Refusal`."""
    earlier = InboundDelivery.objects.filter(
        automation=again.automation_id, sender_id=again.sender_id
    )
    known = earlier.values_list("pk", flat=True).first()
    if known is None:
        raise Refusal(503, "try_again", "The earlier delivery has just been erased.")
    return answers.settle(known)


def replay(inbound_id: int, by: str) -> str:
    """Run the automation once more on a delivery's original payload; the new run's id.

    Writes rows alone; a host finds and starts what they queue. With several partitions the first
    run's id. Raises `InboundDelivery.DoesNotExist`, and `BadEvent` for an automation that has no
    partition to run in.
    """
    with acting_for_all("a person of the staff replays a delivery"), transaction.atomic():
        old = InboundDelivery.objects.select_related("automation").get(pk=inbound_id)
        headers = old.headers
        path = headers.get(inbound.PATH, "")
        content_type = next((v for k, v in headers.items() if k.lower() == "content-type"), "")
        event = inbound.read_event(bytes(old.body), content_type, path)
        again = Incoming(
            automation=old.automation,
            scope_id=old.scope_id,
            sender_id=None,
            headers=headers,
            body=bytes(old.body),
            event=event,
            shown=show_event(event),
            answer_status=answers.ACCEPTED,
            replay_of=old.pk,
        )
        # Nobody here goes on with its runs: the next sweep of any host takes them.
        (booked,) = book([again], by, claimed=None)
        if booked is None or not booked.runs:
            raise BadEvent("No scope is known yet in which it could run.")
    return booked.runs[0]
