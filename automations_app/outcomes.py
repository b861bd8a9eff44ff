"""How runs of automations end: rows only, each verb one transaction.

Law: what ends a run is one conditional update; whoever makes it also writes everything that
follows (counters, deliveries, the next try), in the same transaction, so it happens once.
"""

from __future__ import annotations

import datetime as dt

import msgspec
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from agentsite.bus.catalogue import AutomationCompleted, AutomationFailed
from agentsite.bus.writing import tell
from agentsite.host.clock import new_id
from agentsite.host.purse import record_calls_once
from agentsite.operations.alerts import FAILURES, failing_automation, raise_again, raise_once
from automations_app import deliveries
from automations_app.models import (
    EACH,
    Automation,
    AutomationRun,
    Delivery,
    FailureStreak,
    seconds_from_now,
)
from sessions_app import news
from sessions_app.actions import RunRef
from sessions_app.lookups import read_answer
from sessions_app.metering import FinishedCall
from sessions_app.models import Run, Session, ToolCall

START_SECONDS = 30.0
"""How long others leave a run alone that somebody has just begun and will start."""
FINISH_SECONDS = 120.0
"""The same of one that somebody finishes, which may take a call of a model."""
Status = AutomationRun.Status
WORKING = (Status.RUNNING, Status.WAITING)
GOOD_ENDS = ("model_stop", "stopped")
GONE = "Its session was deleted before it ended."
SENTENCES = {
    "max_turns": "It used up its turns before it was done.",
    "loop_detected": "It made the same call again and again.",
    "budget_exceeded": "It used up its budget.",
    "user_abort": "Somebody stopped it.",
}


class Ended(msgspec.Struct, frozen=True):
    """How a run ended, and what is known of it."""

    automation_run_id: str
    agent: str
    automation: str
    scope_id: str
    success: bool
    session_id: str = ""
    run_id: str = ""
    output: str = ""
    summary: str = ""
    error: str = ""
    code: str = ""
    """Of the error, for programs."""
    last_tool_call: str = ""
    calls: tuple[FinishedCall, ...] = ()
    """Model calls that made the summary."""


def postpone(automation_run_id: str, seconds: float) -> None:
    """Leave a queued run alone for a while."""
    AutomationRun.objects.filter(pk=automation_run_id, status=Status.QUEUED).update(
        claimed_until=seconds_from_now(seconds)
    )


def must_wait(row: AutomationRun) -> bool:
    """Whether a due run waits for an earlier one, unless its automation lets them overlap.

    Where the later one is skipped (`due.py`), those wait that were begun together: caught up.
    """
    automation = row.automation
    if automation.overlap == Automation.Overlap.ALLOW or row.cause != AutomationRun.Cause.CRON:
        return False
    # Two that start at once look one after the other.
    Automation.objects.select_for_update(no_key=True).only("pk").get(pk=automation.pk)
    same = AutomationRun.objects.filter(automation=automation, scope_id=row.scope_id)
    before = Q(status__in=WORKING)
    if row.occurrence is not None:
        due = row.occurrence.due_at
        before |= Q(status=Status.QUEUED, cause=row.cause, occurrence__due_at__lt=due)
    return same.filter(before).exclude(pk=row.pk).exists()


def say_started(row: AutomationRun, ref: RunRef) -> None:
    """Say on the row which ordinary run it is; the row is locked."""
    AutomationRun.objects.filter(pk=row.pk).update(
        status=Status.RUNNING,
        session_id=ref.session_id,
        run_id=ref.run_id,
        started_at=Now(),
        claimed_until=None,
    )


def find_of(run_id: str) -> str | None:
    """The automation's run that an ordinary run is."""
    rows = AutomationRun.objects.filter(run_id=run_id)
    found: str | None = rows.values_list("pk", flat=True).first()
    return found


def fail_unstarted(automation_run_id: str, problem: str) -> Ended | None:
    """The end of a run that could not be started."""
    rows = AutomationRun.objects.filter(pk=automation_run_id, status=Status.QUEUED)
    row = rows.select_related("automation").first()
    if row is None:
        return None
    told = _describe(row, success=False)
    return msgspec.structs.replace(told, error=problem, code="cannot_start")


def claim_ended(automation_run_id: str) -> Ended | None:
    """How a run ended, for whoever will settle it; None while it works, and for a second one."""
    rows = AutomationRun.objects.filter(pk=automation_run_id, status__in=WORKING)
    row = rows.select_related("automation").first()
    if row is None:
        return None
    run = Run.objects.defer("state", "request").filter(pk=row.run_id).first()
    if run is not None and run.status != Run.Status.DONE:
        now = Status.WAITING if run.status == Run.Status.WAITING else Status.RUNNING
        rows.exclude(status=now).update(status=now)
        return None
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    if not rows.filter(free).update(claimed_until=seconds_from_now(FINISH_SECONDS)):
        return None
    if run is None:
        told = _describe(row, success=False)
        return msgspec.structs.replace(told, error=GONE, code="session_deleted")
    if run.reason in GOOD_ENDS:
        return msgspec.structs.replace(_describe(row, success=True), output=read_answer(run.pk))
    error = run.error or {}
    return msgspec.structs.replace(
        _describe(row, success=False),
        output=read_answer(run.pk),
        error=error.get("message") or SENTENCES.get(run.reason, f"It ended by {run.reason}."),
        code=error.get("code") or run.reason,
        last_tool_call=_find_last_call(run.pk),
    )


def _describe(row: AutomationRun, *, success: bool) -> Ended:
    return Ended(
        automation_run_id=row.pk,
        agent=row.automation.agent,
        automation=row.automation.name,
        scope_id=row.scope_id,
        success=success,
        session_id=row.session_id,
        run_id=row.run_id,
    )


def _find_last_call(run_id: str) -> str:
    calls = ToolCall.objects.filter(run_id=run_id).exclude(started_at=None)
    last = calls.order_by("-started_at", "-position").values_list("name", "pk").first()
    return "" if last is None else f"{last[0]} {last[1]}"[:300]


def settle(ended: Ended) -> list[str] | None:
    """End a run: row, session, counters, deliveries, the next try; None when it was ended before.

    Returns ids of queued runs that may start now.
    """
    with transaction.atomic():
        if ended.calls:
            ref = RunRef(ended.run_id, 1, ended.session_id, ended.scope_id)
            record_calls_once(ref, ended.calls)
        row = _end(ended)
        if row is None:
            return None
        _archive(row.session_id)
        follow_up: list[str] = []
        if ended.success:
            _note_success(row)
        elif row.tries <= row.automation.retries:
            follow_up.append(_queue_retry(row))
        else:
            _note_failure(row)
        _tell(row, ended)
        return [*follow_up, *_find_waiting(row)]


def _end(ended: Ended) -> AutomationRun | None:
    rows = AutomationRun.objects.filter(pk=ended.automation_run_id)
    run = Run.objects.filter(pk=ended.run_id).only("cost_micros", "cost_known").first()
    changed = rows.filter(status__in=AutomationRun.OPEN).update(
        status=Status.SUCCESS if ended.success else Status.FAILED,
        output=ended.output,
        summary=ended.summary,
        error=ended.error,
        last_tool_call=ended.last_tool_call,
        cost_micros=run.cost_micros if run is not None and run.cost_known else None,
        ended_at=Now(),
        claimed_until=None,
    )
    return rows.select_related("automation").get() if changed else None


def _archive(session_id: str) -> None:
    working = (Session.Status.RUNNING, Session.Status.WAITING)
    sessions = Session.objects.filter(pk=session_id).exclude(status__in=working)
    kept = sessions.exclude(status__in=(Session.Status.ARCHIVED, Session.Status.EXPIRED))
    if kept.update(status=Session.Status.ARCHIVED, updated_at=Now()):
        news.tell_statuses([session_id])


def find_last_success(row: AutomationRun) -> tuple[str, dt.datetime | None]:
    """Summary and time of the last run before it that succeeded, in its own partition."""
    same = AutomationRun.objects.filter(automation=row.automation_id, scope_id=row.scope_id)
    good = (
        same.filter(status=Status.SUCCESS)
        .exclude(ended_at=None)
        .order_by("-ended_at", "-created_at", "-pk")
    )
    return good.values_list("summary", "ended_at").first() or ("", None)


def _note_success(row: AutomationRun) -> None:
    mine = FailureStreak.objects.filter(automation=row.automation_id, scope_id=row.scope_id)
    mine.filter(failures__gt=0).update(failures=0)
    deliveries.plan(row, Delivery.Kind.RESULT)


def _note_failure(row: AutomationRun) -> None:
    key = {"automation_id": row.automation_id, "scope_id": row.scope_id}
    FailureStreak.objects.bulk_create([FailureStreak(**key)], ignore_conflicts=True)
    mine = FailureStreak.objects.filter(**key)
    mine.update(failures=F("failures") + 1)
    failures = mine.values_list("failures", flat=True).get()
    automation = row.automation
    block = automation.failure_alert or {}
    if failures == block.get("after", FAILURES):
        found = failing_automation(
            automation.pk, automation.agent, automation.name, row.pk, failures
        )
        # What fails in every partition is one thing to know, not one for each of them.
        tell_operators = raise_again if automation.partition == EACH else raise_once
        tell_operators(found)
    deliveries.alert(row)


def _queue_retry(row: AutomationRun) -> str:
    retry = AutomationRun(
        id=new_id("arun"),
        automation_id=row.automation_id,
        scope_id=row.scope_id,
        cause=AutomationRun.Cause.RETRY,
        occurrence_id=row.occurrence_id,
        inbound_id=row.inbound_id,
        requested_by=row.requested_by,
        tries=row.tries + 1,
        retry_of_id=row.pk,
        event=row.event,
        claimed_until=seconds_from_now(START_SECONDS),
    )
    retry.save(force_insert=True)
    return retry.pk


def _find_waiting(row: AutomationRun) -> list[str]:
    """The due run that waited for this one."""
    if row.automation.overlap == Automation.Overlap.ALLOW:
        return []
    rows = AutomationRun.objects.filter(
        automation=row.automation_id,
        scope_id=row.scope_id,
        status=Status.QUEUED,
        cause=AutomationRun.Cause.CRON,
    )
    due = rows.order_by("occurrence__due_at", "created_at", "pk")
    return list(due.values_list("pk", flat=True)[:1])


def _tell(row: AutomationRun, ended: Ended) -> None:
    began, end = row.started_at or row.created_at, row.ended_at
    took = 0 if end is None else round((end - began).total_seconds() * 1000)
    name, ids = row.automation.name, (row.pk, row.session_id)
    event: AutomationCompleted | AutomationFailed = AutomationFailed(name, *ids, took, ended.code)
    if ended.success:
        event = AutomationCompleted(name, *ids, took)
    tell(row.automation.agent, row.scope_id, event)
