"""A run of an automation: begun as a row, started as an ordinary run, finished from how that ended.

Law: each step is one transaction that looks at the row first, so any process may do any of them,
twice or after a crash: nothing is lost and nothing is doubled. Read `outcomes.py` next.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from django.db import transaction

from agentsite.bus.catalogue import AutomationTriggered
from agentsite.bus.writing import tell
from agentsite.engine.messages import Message, TextPart
from agentsite.host.clock import new_id
from agentsite.host.conversation import RunRequest
from agentsite.host.errors import Refusal
from agentsite.host.lifecycle import OpenedRun, Wanted, compose_run, open_run
from agentsite.host.patience import patient_unit
from agentsite.host.site import Site, site
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import UnknownAgent
from agentsite.rows.tenancy import acting_for_all, tenant
from agentsite.rows.units import unit
from agentsite.tools.base import clean
from automations_app import courier, outcomes
from automations_app.models import EACH, Automation, AutomationRun, seconds_from_now
from automations_app.outcomes import Ended
from automations_app.prompt import compose
from automations_app.summary import summarise
from sessions_app.keys import KEY_HOURS
from sessions_app.scopes import Scope, read_facts

logger = logging.getLogger(__name__)

WHY = "automations are an agent's, and their runs any scope's"
NO_ROOM_SECONDS = 5.0
"""After a server was full, before the next try."""
ROLE = "automation"


class CannotStart(Exception):
    """A run that will never start, and why, for operators."""


def partitions_of(automation: Automation) -> list[str]:
    """Scopes in which an automation runs: its own, or every known one that is not blocked."""
    if automation.partition != EACH:
        return [automation.partition]
    known = Scope.objects.filter(agent=automation.agent, blocked_at=None)
    return list(known.order_by("scope_id").values_list("scope_id", flat=True))


class Asked(NamedTuple):
    """By what a caller's request is known when it comes again."""

    key: str
    """Digest of its Idempotency-Key."""
    body_hash: str


class KeyReused(Exception):
    """A caller's key came before with another body."""


def find_asked(automation_id: int, scope_id: str, asked: Asked) -> str | None:
    """The run that the same request began within the day. Raises `KeyReused`."""
    rows = AutomationRun.objects.filter(
        automation=automation_id,
        scope_id=scope_id,
        request_key=asked.key,
        created_at__gt=seconds_from_now(-KEY_HOURS * 3600),
    )
    found = rows.values_list("pk", "request_hash").first()
    if found is not None and found[1] != asked.body_hash:
        raise KeyReused
    return None if found is None else str(found[0])


def begin_asked(
    automation_id: int, scope_id: str, requested_by: str, asked: Asked
) -> tuple[str, bool]:
    """Begin a run by hand, once for one request however often it comes. Raises `KeyReused`.

    Its id, and whether it was begun only now.
    """
    with transaction.atomic():
        # One after the other: of two at once the second finds the first's.
        Automation.objects.select_for_update(no_key=True).only("pk").get(pk=automation_id)
        found = find_asked(automation_id, scope_id, asked)
        if found is not None:
            return found, False
        rows = AutomationRun.objects.filter(automation=automation_id, scope_id=scope_id)
        rows.filter(request_key=asked.key).update(request_key="")  # its day is over
        manual = AutomationRun.Cause.MANUAL
        begun = begin(automation_id, cause=manual, scope_id=scope_id, requested_by=requested_by)
        rows.filter(pk=begun).update(request_key=asked.key, request_hash=asked.body_hash)
    return begun, True


def begin(
    automation_id: int,
    *,
    cause: str,
    scope_id: str,
    occurrence_id: int | None = None,
    requested_by: str = "",
) -> str:
    """Write a queued run and return its id; the same due time gives the same run.

    Synchronous, where all scopes are acted for; the caller goes on with `start`, or else the
    sweep does. Runs of webhooks are written with their deliveries (`booking.py`).
    """
    agent, name = Automation.objects.values_list("agent", "name").get(pk=automation_id)
    row = AutomationRun(
        id=new_id("arun"),
        automation_id=automation_id,
        scope_id=scope_id,
        cause=cause,
        occurrence_id=occurrence_id,
        requested_by=requested_by[:200],
        claimed_until=seconds_from_now(outcomes.START_SECONDS),
    )
    with transaction.atomic():
        AutomationRun.objects.bulk_create([row], ignore_conflicts=True)
        if not AutomationRun.objects.filter(pk=row.pk).exists():
            same = AutomationRun.objects.filter(cause=cause, occurrence=occurrence_id)
            return str(same.values_list("pk", flat=True).get(scope_id=scope_id))
        tell(agent, scope_id, AutomationTriggered(name, cause, row.pk))
    return row.pk


async def start(automation_run_id: str) -> None:
    """Start a queued run in this process; nothing happens to one that is not queued any more.

    One that must wait, for another run or for room, stays queued.
    """
    here = site()
    with acting_for_all(WHY):
        try:
            opened = await unit(_open, here, automation_run_id)
        except Refusal as refusal:  # the process is full or about to stop
            logger.warning("run %s of an automation waits: %s", automation_run_id, refusal)
            await unit(outcomes.postpone, automation_run_id, NO_ROOM_SECONDS)
            return
        except CannotStart as problem:
            await _settle(await unit(outcomes.fail_unstarted, automation_run_id, str(problem)))
            return
        if opened is None:
            return
        here.journal.publish_committed(opened.ref.session_id, *opened.begun)
        here.runs.start(opened)


def _open(here: Site, automation_run_id: str) -> OpenedRun | None:
    """Begin the ordinary run, in the transaction that says so on the row."""
    with transaction.atomic():
        rows = AutomationRun.objects.select_for_update(of=("self",), skip_locked=True)
        queued = rows.filter(pk=automation_run_id, status=AutomationRun.Status.QUEUED)
        row = queued.select_related("automation", "occurrence").first()
        if row is None or outcomes.must_wait(row):
            return None
        here.runs.check_room(row.scope_id)
        wanted = _compose(here, row)
        with tenant(row.scope_id):
            opened = open_run(wanted)
        outcomes.say_started(row, opened.ref)
        return opened


def _compose(here: Site, row: AutomationRun) -> Wanted:
    automation = row.automation
    try:
        agent = here.agents.current(automation.agent)
    except UnknownAgent:
        raise CannotStart(f'There is no agent "{automation.agent}" on this server.') from None
    except ManifestError as error:
        raise CannotStart(f"The agent's files have errors: {error}") from error
    facts = read_facts(row.scope_id)
    fact = facts.get(agent.id)
    if fact is not None and fact.blocked:
        raise CannotStart("Its scope is blocked.")
    request = RunRequest(
        context={} if fact is None else {clean(k): clean(v) for k, v in fact.context.items()},
        user={"role": ROLE, "roles": [ROLE]},
        automation=automation.name,
        read_only=not automation.write_enabled,
        alone=not automation.wait_for_person,
    )
    last = outcomes.find_last_success(row)
    text = clean(compose(automation.prompt, row.event, *last))
    message = Message("user", (TextPart(text),), new_id("msg"))
    wanted = compose_run(agent, row.scope_id, request, message, facts, here.owner)
    return wanted.for_automation(automation.name, (automation.name, row.pk), automation.title)


async def finish(automation_run_id: str) -> None:
    """Write down how a run ended, and what follows from it; safe to call at any time, by anybody.

    Of one that still works nothing is written, of one that waits for a person that it does.
    """
    with acting_for_all(WHY):
        ended = await patient_unit(outcomes.claim_ended, automation_run_id)
        if ended is not None:
            await _settle(await summarise(site().agents, site().ledger, ended))


async def finish_of(run_id: str) -> None:
    """The same by the id of the ordinary run."""
    with acting_for_all(WHY):
        automation_run_id = await patient_unit(outcomes.find_of, run_id)
    if automation_run_id is not None:
        await finish(automation_run_id)


async def _settle(ended: Ended | None) -> None:
    if ended is None:
        return
    settled = await patient_unit(outcomes.settle, ended)
    if settled is None:  # somebody else was faster
        return
    courier.wake()
    if not ended.success:
        log_failure(ended)
    for automation_run_id in settled:
        await start(automation_run_id)


def log_failure(ended: Ended) -> None:
    """Tell operators of a run that failed, with all that they look for first."""
    logger.error(
        'automation "%s" of %s failed in scope "%s": run %s, session %s, last tool call %s: %s',
        ended.automation,
        ended.agent,
        ended.scope_id,
        ended.automation_run_id,
        ended.session_id or "none",
        ended.last_tool_call or "none",
        ended.error,
    )
