"""Claiming due times: one transaction makes the occurrence and the runs that it sets off.

Law: a due time is claimed once, by whoever looks first, and never before it has come; the unique
row is the proof. What was missed is a row as well, with its reason. Synchronous: for `unit`.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Container, Mapping
from itertools import islice, takewhile
from typing import Any

from cronsim import CronSimError
from django.db import transaction
from django.db.models import Max

from automations_app.clock import due_times, next_times
from automations_app.models import Automation, AutomationRun, Occurrence
from automations_app.starting import begin, partitions_of

logger = logging.getLogger(__name__)

LATE_SECONDS = 150.0
"""A due time that was not claimed by then was missed: two looks of every minute went by."""
MOST_CAUGHT_UP = 10
MOST_AT_ONCE = 10_000
"""Due times that one transaction claims; the rest follow in the next."""
UNSERVED = dt.timedelta(hours=1)
"""How long a due time is left to another process, one that serves its agent."""
NOT_SERVED = "Its agent is not served."
"""Of a due time that no server came for within `UNSERVED`."""
NOT_HERE = "Its agent is not served here."
"""Of an automation, as far as one process knows: another may serve its agent."""
Status = Occurrence.Status
LONGEST_REASON = 300
TIMES = ("trigger", "schedule", "timezone", "paused")
"""Columns that decide when an automation is due."""


def find_due(now: dt.datetime, served: Container[str] | None = None) -> list[int]:
    """Automations that have due times which nobody has claimed.

    `served`: agents of this process (None: all). Those of others come only after `UNSERVED`: then
    nobody serves them.
    """
    rows = Automation.objects.filter(trigger=Automation.Trigger.CRON, paused=False)
    known = rows.exclude(armed_since=None).annotate(newest=Max("occurrences__due_at"))
    return [
        row.pk
        for row in known.order_by("pk")
        if _is_due(row, row.newest, now - _find_wait(row, served))
    ]


def _find_wait(automation: Automation, served: Container[str] | None) -> dt.timedelta:
    """For how long this process leaves due times to others."""
    mine = served is None or automation.agent in served
    return dt.timedelta() if mine else UNSERVED


def _is_due(automation: Automation, newest: dt.datetime | None, now: dt.datetime) -> bool:
    mark = _find_mark(automation, newest)
    try:
        coming = next_times(automation.schedule, automation.timezone, mark, 1)
    except (ValueError, CronSimError) as problem:  # its zone has left the system's list
        logger.error("automation %s has no due times: %s", automation.pk, problem)
        return False
    return bool(coming) and coming[0] <= now


def claim_due(
    automation_id: int, now: dt.datetime, by: str, served: Container[str] | None = None
) -> list[str]:
    """Claim what is due at `now`, and begin its runs; ids of those that may start.

    `by` names the process, for operators. Nothing happens to an automation that is paused or
    gone; of an agent that nobody serves due times are missed.
    """
    runs: list[str] = []
    while True:
        with transaction.atomic():
            begun, more = _claim_some(automation_id, now, by, served)
        runs += begun
        if not more:
            return runs


def lock(automation_id: int, **known: Any) -> Automation | None:
    """The row, held until the transaction ends, if these columns are as `known` says.

    Whoever claims at the same time waits, and then finds what was claimed.
    """
    rows = Automation.objects.select_for_update(no_key=True)
    return rows.filter(pk=automation_id, **known).first()


def let_go(automation_id: int, changes: Mapping[str, Any]) -> None:
    """Call it before columns become `changes`: due times end with the schedule that they are of.

    Those that nobody has claimed yet are written as missed. In a transaction that changes the row.
    """
    automation = lock(automation_id)
    if automation is None or all(
        getattr(automation, name) == changes.get(name, getattr(automation, name)) for name in TIMES
    ):
        return
    now = dt.datetime.now(dt.UTC)
    try:
        due, more = _find_unclaimed(automation, now)
    except (ValueError, CronSimError):  # its zone has left the system's list: it was never due
        return
    done = "paused" if changes.get("paused") else "rescheduled"
    reasons = dict.fromkeys(due, f"It was {done} before a scheduler had claimed it.")
    if more:
        reasons[due[-1]] += " So were later ones, which are not listed."
    _write(automation, due, reasons, "", now)


def _find_unclaimed(automation: Automation, until: dt.datetime) -> tuple[list[dt.datetime], bool]:
    """Due times that nobody has claimed, ascending, and whether there are more than may be."""
    is_cron = automation.trigger == Automation.Trigger.CRON
    if not is_cron or automation.paused or automation.armed_since is None:
        return [], False
    newest = automation.occurrences.aggregate(newest=Max("due_at"))["newest"]
    since = _find_mark(automation, newest)
    ahead = due_times(automation.schedule, automation.timezone, since)
    due = list(islice(takewhile(lambda at: at <= until, ahead), MOST_AT_ONCE + 1))
    more = len(due) > MOST_AT_ONCE
    # The newest of them may yet be caught up.
    return (due[: MOST_AT_ONCE - MOST_CAUGHT_UP], True) if more else (due, False)


def _write(
    automation: Automation,
    due: list[dt.datetime],
    reasons: Mapping[dt.datetime, str],
    by: str,
    now: dt.datetime,
) -> list[Occurrence]:
    """Write due times as claimed; those with a reason as missed."""
    return Occurrence.objects.bulk_create(
        Occurrence(
            automation=automation,
            due_at=at,
            status=Status.MISSED if at in reasons else Status.RUN,
            reason=reasons.get(at, ""),
            claimed_by=by,
            claimed_at=now,
        )
        for at in due
    )


def _claim_some(
    automation_id: int, now: dt.datetime, by: str, served: Container[str] | None
) -> tuple[list[str], bool]:
    automation = lock(automation_id)
    if automation is None:
        return [], False
    wait = _find_wait(automation, served)
    due, more = _find_unclaimed(automation, now - wait)
    if not due:
        return [], False
    reasons = dict.fromkeys(due, NOT_SERVED)
    if not wait:
        reasons = find_missed(automation.catch_up, due, now, final=not more)
    occurrences = _write(automation, due, reasons, by, now)
    begun: list[str] = []
    wanted = [each for each in occurrences if each.status == Status.RUN]
    # Looked at before the first of them begins: those that are caught up together all run.
    open_in = _find_open(automation) if wanted else {}
    for occurrence in wanted:
        begun += _begin_runs(automation, occurrence, open_in)
    return begun, more


def _find_mark(automation: Automation, newest: dt.datetime | None) -> dt.datetime:
    """The moment up to which everything is claimed; `newest` is the last that was."""
    if automation.armed_since is None:
        raise ValueError("an automation that is not armed is never due")
    # A due time at the very moment of arming counts.
    mark = automation.armed_since - dt.timedelta(microseconds=1)
    return mark if newest is None else max(mark, newest)


def find_missed(
    catch_up: str, due: list[dt.datetime], now: dt.datetime, *, final: bool = True
) -> dict[dt.datetime, str]:
    """Of unclaimed due times in ascending order, those that do not run, and why. Pure.

    `final`: nothing else is due after them.
    """
    late = [at for at in due if (now - at).total_seconds() > LATE_SECONDS]
    missed = "No scheduler worked when it was due"
    if not final:
        return dict.fromkeys(due, f"{missed}; newer ones were missed as well.")
    match Automation.CatchUp(catch_up):
        case Automation.CatchUp.NONE:
            return dict.fromkeys(late, f"{missed}, and it is not caught up.")
        case Automation.CatchUp.LAST:
            return dict.fromkeys(
                [at for at in late if at != due[-1]], f"{missed}; a newer one runs instead."
            )
        case Automation.CatchUp.ALL:
            kept = late[-MOST_CAUGHT_UP:]
            return dict.fromkeys(
                late[: len(late) - len(kept)],
                f"{missed}; the last {MOST_CAUGHT_UP} are caught up.",
            )


def _find_open(automation: Automation) -> dict[str, str]:
    """By partition, a run of the automation that has not ended."""
    rows = AutomationRun.objects.filter(automation=automation, status__in=AutomationRun.OPEN)
    return dict(rows.order_by("-created_at").values_list("scope_id", "pk"))


def _begin_runs(
    automation: Automation, occurrence: Occurrence, open_in: dict[str, str]
) -> list[str]:
    """Begin a run in each partition; those in which one still works are skipped if told so."""
    partitions = partitions_of(automation)
    busy: dict[str, str] = {}
    if automation.overlap == Automation.Overlap.SKIP:
        busy = {scope: open_in[scope] for scope in partitions if scope in open_in}
    begun = [
        begin(
            automation.pk,
            cause=AutomationRun.Cause.CRON,
            scope_id=scope,
            occurrence_id=occurrence.pk,
        )
        for scope in partitions
        if scope not in busy
    ]
    reason = ""
    if busy:
        names = ", ".join(f"{run} of {scope}" if scope else run for scope, run in busy.items())
        reason = f"An earlier run still works: {names}."
    elif not partitions:
        reason = "No scope is known to run for."
    if reason:
        Occurrence.objects.filter(pk=occurrence.pk).update(
            status=Status.RUN if begun else Status.SKIPPED, reason=reason[:LONGEST_REASON]
        )
    return begun
