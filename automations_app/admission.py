"""Webhooks that have come in, from their bytes to rows: verified, read, stored with their runs.

Law: raw bytes are verified before anything in them counts, and a delivery is stored in one
transaction with the runs it starts: whatever dies afterwards, they run once. What came in
together is stored together, and what is wrong with one costs no other. Synchronous: for `unit`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from django.db import DatabaseError, DataError, IntegrityError

from agentsite.delivery.signing import BadSecret
from agentsite.host.errors import Refusal
from agentsite.host.site import site
from agentsite.rows.secrets import Sealed, SecretLost
from automations_app import answers, inbound, starting
from automations_app.answers import Answer
from automations_app.booking import Booked, Incoming, book
from automations_app.events import show_event
from automations_app.inbound import BadEvent
from automations_app.models import EACH, Automation, InboundDelivery
from automations_app.signatures import BadSignature, Signed, verify

logger = logging.getLogger(__name__)


class Arrived(msgspec.Struct, frozen=True):
    """A request as it came."""

    agent: str
    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    wants_async: bool


class Again(NamedTuple):
    """A delivery that was here before, by what it is known."""

    automation_id: int
    sender_id: str


class Admitted(msgspec.Struct, frozen=True):
    """A delivery that is stored with the runs it starts, or one that was here before."""

    inbound_id: int = 0
    runs: tuple[str, ...] = ()
    """Automation runs to be started now."""
    answer: Answer | None = None
    """What to answer without waiting."""
    again: Again | None = None
    """The answer is that of the earlier one."""


class Genuine(NamedTuple):
    """One to be stored: its sender is believed, its payload read."""

    automation: Automation
    arrived: Arrived
    sender_id: str | None
    event: Any
    shown: str | None
    """The event as prompts of a scope without credentials show it."""
    is_async: bool
    sealed: Sequence[Sealed] | None = None
    """The credentials of its one partition, where they were read."""


class Known(NamedTuple):
    """An automation that a webhook sets off."""

    automation: Automation
    sealed: Sequence[Sealed] | None
    """The credentials of its one partition; None where it has several."""


Outcome = Admitted | Exception
"""Of one webhook; an exception is raised where it is awaited, mostly a `Refusal`."""
FIND = """
SELECT id, agent, name, paused, mode, partition, webhook_auth, webhook_secret,
    ARRAY(SELECT value FROM sessions_app_scopecredential c
        WHERE c.agent = a.agent AND c.scope_id = a.partition) AS sealed
FROM automations_app_automation a
WHERE trigger = 'webhook' AND agent = ANY(%s) AND name = ANY(%s)
"""
# As SQL: putting it together anew each time would cost as much as all that follows.


def admit(arrived: Sequence[Arrived]) -> list[Outcome]:
    """Verify webhooks and store them with their runs; what became of each, in order."""
    known = _find_automations(arrived)
    outcomes: list[Outcome] = []
    genuine: dict[int, Genuine] = {}
    for place, each in enumerate(arrived):
        try:
            found = known.get((each.agent, each.name))
            judged = judge(found and found.automation, each)
        except Exception as error:  # noqa: BLE001 - raised where this one is awaited
            outcomes.append(error)
            continue
        outcomes.append(judged if isinstance(judged, Admitted) else Admitted())
        if isinstance(judged, Genuine):
            genuine[place] = judged._replace(sealed=found and found.sealed)
    for place, outcome in zip(genuine, store(list(genuine.values())), strict=True):
        outcomes[place] = outcome
    return outcomes


def _find_automations(arrived: Sequence[Arrived]) -> dict[tuple[str, str], Known]:
    """By agent and name, those that a webhook sets off."""
    names = sorted({each.name for each in arrived if "\0" not in each.name})
    rows = Automation.objects.raw(FIND, [sorted({each.agent for each in arrived}), names])
    return {(row.agent, row.name): Known(row, _wrap_sealed(row)) for row in rows}


def _wrap_sealed(row: Automation) -> Sequence[Sealed] | None:
    if row.partition == EACH:
        return None
    return [Sealed(bytes(token)) for token in cast("Any", row).sealed]


def judge(automation: Automation | None, arrived: Arrived) -> Genuine | Admitted:
    """What is to be stored, or what is answered without it. Raises `Refusal`."""
    if automation is None:
        raise not_found(arrived.name)
    dialect = check_signature(automation, arrived)
    try:
        content_type = arrived.headers.get("content-type", "")
        event = inbound.read_event(arrived.body, content_type, arrived.path)
        sender_id = inbound.find_sender_id(dialect, arrived.headers, event)
        shown = show_event(event)
    except BadEvent as error:
        raise Refusal(400, "invalid_event", str(error)) from None
    challenge = inbound.find_challenge(dialect, event)
    if challenge is not None:
        return Admitted(answer=Answer(200, {"challenge": challenge}))
    is_async = arrived.wants_async or automation.mode == Automation.Mode.ASYNC
    try:
        _check_ready(automation, is_async)
    except Refusal:
        # What was taken in before is answered as it was, whatever has happened since.
        if sender_id is None or not _is_known(automation, sender_id):
            raise
        return Admitted(again=Again(automation.pk, sender_id))
    return Genuine(automation, arrived, sender_id, event, shown, is_async)


def _check_ready(automation: Automation, is_async: bool) -> None:
    """Raises `Refusal` 503 or 429 when it cannot be set off now."""
    if automation.paused:
        text = f'The automation "{automation.name}" is paused.'
        raise Refusal(503, "automation_paused", text, headers={"Retry-After": "300"})
    if automation.partition == EACH and not starting.partitions_of(automation):
        text = f'The automation "{automation.name}" runs in every known scope, and none is known.'
        raise Refusal(503, "no_scope", text, headers={"Retry-After": "300"})
    if not (is_async and site().runs.accepting):  # what is answered later may wait for room
        site().runs.check_room(_scope_of(automation))


def _is_known(automation: Automation, sender_id: str) -> bool:
    rows = InboundDelivery.objects.filter(automation=automation.pk, sender_id=sender_id)
    return rows.exists()


def check_signature(automation: Automation, arrived: Arrived) -> str:
    """The dialect that the sender was verified by; empty for an automation that takes anybody.

    Raises `Refusal`.
    """
    auth = automation.webhook_auth
    if auth is None:
        return ""
    try:
        if automation.webhook_secret is None:
            raise BadSecret("it is missing")
        secret = automation.webhook_secret.open()
        verify(Signed(auth, secret, arrived.headers, arrived.body, time.time()))
    except BadSignature as error:
        raise Refusal(401, "invalid_signature", f"{error}.") from None
    except (BadSecret, SecretLost) as error:
        text = "The automation's secret cannot be used; its operators have to set it again."
        raise Refusal(503, "secret_unusable", text) from error
    return str(auth["type"])


def store(genuine: Sequence[Genuine]) -> Sequence[Outcome]:
    """Store all with their runs together, or one by one where that cannot be done.

    What the database refuses is refused to its sender, and so is a payload that cannot be shown
    in one of its scopes.
    """
    if not genuine:
        return []
    try:
        booked = book([_to_incoming(each) for each in genuine])
    except (BadEvent, DataError, IntegrityError) as error:
        if len(genuine) == 1:
            if isinstance(error, BadEvent):
                return [Refusal(400, "invalid_event", str(error))]
            if isinstance(error, IntegrityError):  # deleted at this moment
                return [not_found(genuine[0].arrived.name)]
            return [Refusal(400, "invalid_event", "Its id or headers cannot be stored.")]
        return [outcome for each in genuine for outcome in store([each])]
    pairs = list(zip(genuine, booked, strict=True))
    given = _find_given([_again(each) for each, one in pairs if one is None])
    return [
        _admit_known(_again(each), given) if one is None else _admit_booked(each, one)
        for each, one in pairs
    ]


def _find_given(known: Sequence[Again]) -> Mapping[tuple[int, str], Answer]:
    """Answers that were given before; those that cannot be read now are asked for one by one."""
    try:
        return answers.find_given(known)
    except DatabaseError as error:  # what is stored by now is answered all the same
        logger.warning("earlier answers to webhooks could not be read: %s", error)
        return {}


def _again(each: Genuine) -> Again:
    return Again(each.automation.pk, each.sender_id or "")


def _admit_known(again: Again, given: Mapping[tuple[int, str], Answer]) -> Admitted:
    answer = given.get(again)
    return Admitted(again=again) if answer is None else Admitted(answer=answer)


def _to_incoming(each: Genuine) -> Incoming:
    automation, arrived = each.automation, each.arrived
    header = (automation.webhook_auth or {}).get("header") or ""
    return Incoming(
        automation,
        _scope_of(automation),
        each.sender_id,
        inbound.keep_headers(arrived.headers, arrived.path, header),
        arrived.body,
        each.event,
        each.shown,
        answers.ACCEPTED if each.is_async else None,
        sealed=each.sealed,
    )


def _admit_booked(each: Genuine, booked: Booked) -> Admitted:
    answer = answers.accept(each.automation.name, booked.runs) if each.is_async else None
    return Admitted(booked.inbound_id, booked.runs, answer)


def _scope_of(automation: Automation) -> str:
    return "" if automation.partition == EACH else automation.partition


def not_found(name: str) -> Refusal:
    """There is none that a webhook sets off."""
    text = f'There is no automation "{name[:200]}" that a webhook triggers.'
    return Refusal(404, "automation_not_found", text)
