"""Results and alerts on their way out: planned with the run's end, sent outside of transactions.

Law: a delivery is a row with one id over all its attempts; it is claimed before it is sent, and
what dies in between is sent again under that id. No failure here reaches the run.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Min, Q, Value
from django.db.models.functions import Now

from agentsite.bus.catalogue import DeliveryFailed, DeliverySucceeded
from agentsite.bus.writing import tell
from agentsite.connections.errors import OutboundError
from agentsite.connections.targets import parse_target
from agentsite.delivery.base import SECONDS, Outcome, Outgoing, again, dead
from agentsite.delivery.sending import send
from agentsite.host.clock import new_id
from agentsite.host.site import site
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import UnknownAgent
from agentsite.manifest.stores import StoreSpec
from agentsite.rows.secrets import SecretLost
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from agentsite.tools.results import clean, clean_json
from automations_app.models import Automation, AutomationRun, Delivery, FailureStreak
from automations_app.payloads import Told, compose_alert, compose_result
from automations_app.targets import Hidden, Known, find_edited, find_target, read_targets

logger = logging.getLogger(__name__)

CLAIM_SECONDS = SECONDS + 20
"""How long others leave a claimed delivery alone."""
LONGEST_PAUSE = 3_600.0
"""Seconds, however long a target asks to be left alone."""
LONGEST_PROBLEM = 500
BLOCKS = {Delivery.Kind.RESULT: "delivery", Delivery.Kind.ALERT: "failure_alert"}
"""Where an automation names the targets of each kind."""
CHANGED = "The automation's target has changed since; replay the delivery to use the new one."
GONE = "The automation has no such target any more, and what it was sent with is not kept."
UNREADABLE = "?"
"""The mark of a target whose secrets could not be read."""


class TargetChanged(Exception):
    """A delivery whose target its automation does not have any more; `str()` says what to do."""


class Claimed(NamedTuple):
    """A delivery that is this process's to send."""

    outgoing: Outgoing
    refusal: Outcome | None
    """Why it cannot even be tried."""


def plan(run: AutomationRun, kind: str) -> None:
    """Write a delivery for each target of a run that has ended; once, however often it is called.

    Inside the transaction that ends the run.
    """
    block = getattr(run.automation, BLOCKS[Delivery.Kind(kind)])
    at = run.ended_at if isinstance(run.ended_at, dt.datetime) else dt.datetime.now(dt.UTC)
    told = Told(run.automation.name, at, run.output, run.error)
    marks = _read_marks(run.automation, kind)
    Delivery.objects.bulk_create(
        [
            Delivery(
                id=new_id("msg"),
                automation_run=run,
                automation_id=run.automation_id,
                scope_id=run.scope_id,
                kind=kind,
                target_index=place,
                target_type=target["type"],
                target=target,
                target_mark=marks[place],
                payload=clean_json(
                    compose_alert(told)
                    if kind == Delivery.Kind.ALERT
                    else compose_result(told, block, target["type"])
                ),
            )
            for place, target in enumerate(block["targets"] if block else ())
        ],
        ignore_conflicts=True,
    )


def _read_marks(automation: Automation, kind: str) -> list[str]:
    try:
        return [each.mark for each in _read_targets(automation, kind)]
    except SecretLost:  # no reason for the run not to end
        block = getattr(automation, BLOCKS[Delivery.Kind(kind)])
        return [UNREADABLE] * len(block["targets"])


def _read_targets(automation: Automation, kind: str) -> list[Known]:
    name = BLOCKS[Delivery.Kind(kind)]
    return read_targets(name, getattr(automation, name), automation.target_secrets)


def alert(run: AutomationRun) -> None:
    """Plan the alerts of a run that failed, if its automation has failed often enough there.

    Inside the transaction that ends the run and has counted the failure.
    """
    block = run.automation.failure_alert
    if not block:
        return
    quiet = dt.timedelta(minutes=block.get("cooldownMinutes", 60))
    due = FailureStreak.objects.filter(
        Q(last_alert_at=None) | Q(last_alert_at__lte=Now() - quiet),
        automation=run.automation_id,
        scope_id=run.scope_id,
        failures__gte=block.get("after", 1),
    )
    if due.update(last_alert_at=Now()):
        plan(run, Delivery.Kind.ALERT)


CLAIM = """
UPDATE automations_app_delivery d
SET attempts = d.attempts + 1, next_try_at = now() + %s * interval '1 second'
FROM (SELECT id FROM automations_app_delivery
      WHERE status = 'pending' AND next_try_at <= now()
      ORDER BY next_try_at LIMIT %s FOR UPDATE SKIP LOCKED) due
WHERE d.id = due.id RETURNING d.id
"""


def claim(limit: int) -> list[Claimed]:
    """Take deliveries that are due, each for one attempt. Synchronous: for `unit`."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [CLAIM_SECONDS, limit])
        ids = [row[0] for row in cursor.fetchall()]
    rows = Delivery.objects.filter(pk__in=ids).select_related("automation", "automation_run")
    return [_prepare(row) for row in rows]


def _prepare(row: Delivery) -> Claimed:
    run, automation = row.automation_run, row.automation
    target, refusal = dict(row.target), None
    stores: tuple[StoreSpec, ...] = ()
    try:
        if row.attempts > len(settings.DELIVERY_RETRY_SECONDS) + 1:
            refusal = dead("Every process that tried to send it ended meanwhile.")
        else:
            target |= _find_hidden(row)
            stores = _find_stores(row)
    except SecretLost as error:
        refusal = again(str(error))
    except UnknownAgent:
        refusal = again(f'The agent "{automation.agent}" is not served here.')
    except ManifestError:
        refusal = again(f'The files of the agent "{automation.agent}" have errors.')
    except TargetChanged as error:
        refusal = dead(str(error))
    except Exception as error:
        # It is claimed: the others that are claimed with it shall not lose their attempt.
        logger.exception("delivery %s could not be prepared", row.pk)
        refusal = again(f"An error of ours: {type(error).__name__}.")
    outgoing = Outgoing(
        row.id, row.attempts, automation.agent, automation.name, row.scope_id, run.session_id,
        run.run_id, target, row.payload, stores,
    )  # fmt: skip
    return Claimed(outgoing, refusal)


def _find_stores(row: Delivery) -> tuple[StoreSpec, ...]:
    """The agent's, for a target that is one of them. Raises `UnknownAgent`, `ManifestError`."""
    if row.target_type != "store":
        return ()
    return site().agents.current(row.automation.agent).bundle.stores


def _find_hidden(row: Delivery) -> Hidden:
    """What was taken out of the row's target. Raises `TargetChanged`, `SecretLost`."""
    found = find_target(_read_targets(row.automation, row.kind), row.target, row.target_mark)
    if found is None and row.target_mark:
        raise TargetChanged(CHANGED)
    return {} if found is None else found.hidden


async def attempt(claimed: Claimed) -> bool:
    """Send one delivery, and write down how it went; whether it waits for another attempt."""
    began = time.monotonic()
    try:
        outcome = claimed.refusal or await send(claimed.outgoing)
    except Exception as error:
        # An edge: whatever is wrong with one delivery, the others shall not suffer from it.
        logger.exception("delivery %s could not be sent", claimed.outgoing.id)
        outcome = again(f"An error of ours: {type(error).__name__}.")
    took = round((time.monotonic() - began) * 1000)
    return await unit(settle, claimed.outgoing, outcome, took)


def settle(outgoing: Outgoing, outcome: Outcome, took_ms: int) -> bool:
    """Write down how an attempt went, unless somebody else has it by now; whether it waits."""
    pauses = settings.DELIVERY_RETRY_SECONDS
    problem = clean(outcome.problem)[:LONGEST_PROBLEM]
    mine = Delivery.objects.filter(
        pk=outgoing.id, attempts=outgoing.attempt, status=Delivery.Status.PENDING
    )
    known = {"response_code": outcome.status, "problem": problem}
    if outcome.transient and outgoing.attempt <= len(pauses):
        pause = max(pauses[outgoing.attempt - 1], min(outcome.retry_after, LONGEST_PAUSE))
        return bool(mine.update(**known, next_try_at=Now() + Value(dt.timedelta(seconds=pause))))
    status = Delivery.Status.DEAD if problem else Delivery.Status.DELIVERED
    with transaction.atomic():
        if not mine.update(**known, status=status, next_try_at=None, ended_at=Now()):
            return False
        about = {
            "automation": outgoing.automation,
            "delivery_id": outgoing.id,
            "target_type": outgoing.target["type"],
            "target_url": _show_address(outgoing),
            "http_status": outcome.status,
            "duration_ms": took_ms,
        }
        event = (
            DeliveryFailed(**about, error=problem, attempts=outgoing.attempt)
            if problem
            else DeliverySucceeded(**about)
        )
        tell(outgoing.agent, outgoing.scope_id, event, audience="staff")
    if problem:
        logger.error(
            "delivery %s of %s is given up after %d attempts: %s",
            outgoing.id, outgoing.automation, outgoing.attempt, problem,
        )  # fmt: skip
    return False


def _show_address(outgoing: Outgoing) -> str:
    """Where a webhook went, without path and query, which may hold secrets."""
    try:
        target = parse_target(outgoing.target.get("url", ""))
    except OutboundError:
        return ""
    return f"{target.scheme}://{target.origin.host}:{target.origin.port}"


def seconds_to_next() -> float | None:
    """Until a delivery is due, 0 or less when one is; None when none waits."""
    waiting = Delivery.objects.filter(status=Delivery.Status.PENDING)
    found = waiting.aggregate(left=Min(F("next_try_at")) - Now())["left"]
    return None if found is None else float(found.total_seconds())


async def send_due(limit: int) -> int:
    """Send what is due, `limit` deliveries at the most, all at once; how many there were."""
    with acting_for_all("deliveries of every scope"):
        claimed = await unit(claim, limit)
        await asyncio.gather(*map(attempt, claimed))
    return len(claimed)


def replay(delivery_id: str) -> bool:
    """Send a dead letter again under its old id; False for no such.

    To its target as that is now, if it still is one of the automation's, and else as it was.
    Raises `TargetChanged` when it cannot be sent as it was, and `SecretLost`. Synchronous: for
    `unit` and staff pages; the courier finds it.
    """
    dead_letters = Delivery.objects.filter(pk=delivery_id, status=Delivery.Status.DEAD)
    row = dead_letters.select_related("automation").first()
    if row is None:
        return False
    found = _find_current(row)
    if found is None and row.target_mark:
        raise TargetChanged(GONE)
    target = Known(row.target, {}) if found is None else found
    return bool(
        dead_letters.update(
            status=Delivery.Status.PENDING,
            target=target.shown,
            target_mark=target.mark,
            attempts=0,
            next_try_at=Now(),
            ended_at=None,
        )
    )


def _find_current(row: Delivery) -> Known | None:
    """The target as the automation has it now, be it in another place or edited in its own."""
    known = _read_targets(row.automation, row.kind)
    found = find_target(known, row.target, row.target_mark)
    if found is not None:
        return found
    planned = Delivery.objects.filter(automation_run=row.automation_run_id, kind=row.kind)
    before = planned.order_by("target_index").values_list("target", "target_mark")
    return find_edited(known, list(before), row.target_index)
