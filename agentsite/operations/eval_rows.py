"""Verbs on eval runs, each one transaction: begun, claimed, settled, ended.

Law: who works an eval run holds it by a lease; results are settled once, by a conditional update.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Now

from agentsite.engine.ids import make_id
from agentsite.operations.evals import EvalResult, EvalRun

MAX_ATTEMPTS = 3
BROKEN = "Every process that worked it broke off."
LEFT = "The command that worked it was ended before it was done."
Standing = Literal["held", "stop", "lost"]


class NewEvalRun(msgspec.Struct, frozen=True):
    """What shall be tried, all of it checked."""

    agent: str
    agent_version: str
    agent_hash: str
    evals: tuple[tuple[str, str], ...]
    """Name and title of each."""
    models: tuple[str, ...]
    judge: str = ""
    repeats: int = 1
    lanes: int = 1
    allow_writes: bool = False
    requested_by: str = ""
    owner: str = ""
    """The host that works it at once; empty: whichever claims it first."""
    lease_seconds: float = 0.0


def begin(new: NewEvalRun) -> str:
    """Write an eval run with a result to come for each eval, model and repeat; its id."""
    row = EvalRun(
        id=make_id("eval", os.urandom(16)),
        agent=new.agent,
        agent_version=new.agent_version,
        agent_hash=new.agent_hash,
        evals=[name for name, _ in new.evals],
        model_names=list(new.models),
        judge=new.judge,
        repeats=new.repeats,
        lanes=new.lanes,
        allow_writes=new.allow_writes,
        requested_by=new.requested_by[:200],
    )
    wanted = [
        EvalResult(
            eval_run_id=row.pk,
            agent=new.agent,
            name=name,
            title=title[:300],
            model=model,
            repeat=repeat,
        )
        for repeat in range(1, new.repeats + 1)
        for name, title in new.evals
        for model in new.models
    ]
    with transaction.atomic():
        row.save(force_insert=True)
        EvalResult.objects.bulk_create(wanted)
        if new.owner:
            taken = {"status": EvalRun.Status.RUNNING, "owner": new.owner, "attempts": 1}
            until = _from_now(new.lease_seconds)
            EvalRun.objects.filter(pk=row.pk).update(**taken, by_command=True, claimed_until=until)
    return row.pk


def _from_now(seconds: float) -> Any:
    return Now() + dt.timedelta(seconds=seconds)


def claim_next(owner: str, seconds: float) -> str | None:
    """Take an eval run that waits or whose host is gone; None when there is none."""
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    with transaction.atomic():
        rows = EvalRun.objects.select_for_update(skip_locked=True).filter(free)
        row = rows.filter(status__in=EvalRun.OPEN).order_by("created_at").first()
        if row is None:
            return None
        if row.by_command or row.attempts >= MAX_ATTEMPTS:
            end(row.pk, EvalRun.Status.BROKEN, LEFT if row.by_command else BROKEN)
            return None
        EvalRun.objects.filter(pk=row.pk).update(
            status=EvalRun.Status.RUNNING,
            owner=owner,
            claimed_until=_from_now(seconds),
            attempts=F("attempts") + 1,
        )
        return row.pk


def renew(eval_run_id: str, owner: str, seconds: float) -> Standing:
    """Hold it for so many seconds more, and say how it stands."""
    ours = EvalRun.objects.filter(pk=eval_run_id, owner=owner, status=EvalRun.Status.RUNNING)
    if not ours.update(claimed_until=_from_now(seconds)):
        return "lost"
    return "stop" if ours.exclude(stop_requested_at=None).exists() else "held"


def release(eval_run_id: str, owner: str) -> None:
    """Let another host go on at once; this one stops."""
    ours = EvalRun.objects.filter(pk=eval_run_id, owner=owner, status=EvalRun.Status.RUNNING)
    ours.update(claimed_until=None, attempts=F("attempts") - 1)


def request_stop(eval_run_id: str) -> bool:
    """Ask for its end: what runs may end, nothing more is begun; False when it has ended."""
    with transaction.atomic():
        rows = EvalRun.objects.select_for_update().filter(pk=eval_run_id)
        row = rows.filter(status__in=EvalRun.OPEN).first()
        if row is None:
            return False
        rows.update(stop_requested_at=Now())
        if row.status == EvalRun.Status.QUEUED:
            end(row.pk, EvalRun.Status.STOPPED)
        return True


def end(eval_run_id: str, status: str, error: str = "") -> None:
    """End it, with the sums of what there is; results that were not run say so."""
    with transaction.atomic():
        rows = EvalRun.objects.filter(pk=eval_run_id, status__in=EvalRun.OPEN)
        if rows.update(status=status, error=error, ended_at=Now(), claimed_until=None):
            left = EvalResult.objects.filter(eval_run=eval_run_id, status__in=EvalResult.OPEN)
            left.update(status=EvalResult.Status.SKIPPED)
            add_up(eval_run_id)


def read_open(eval_run_id: str) -> list[EvalResult]:
    """Results that are still to come, in the order in which they are worked."""
    rows = EvalResult.objects.filter(eval_run=eval_run_id, status__in=EvalResult.OPEN)
    return list(rows.order_by("pk"))


def say_started(result_id: int, session_id: str, run_id: str, lane: int) -> bool:
    """Say which run it is; False when it was started or skipped before."""
    rows = EvalResult.objects.filter(pk=result_id, status=EvalResult.Status.PENDING)
    running = EvalResult.Status.RUNNING
    return bool(rows.update(status=running, session_id=session_id, run_id=run_id, lane=lane))


def settle(result_id: int, **what: Any) -> bool:
    """Write what it came to (columns of `EvalResult`); False when that was written before."""
    rows = EvalResult.objects.filter(pk=result_id, status__in=EvalResult.OPEN)
    return bool(rows.update(**what, ended_at=Now()))


def add_up(eval_run_id: str) -> None:
    """Bring an eval run's sums up to its results."""
    counts = {
        name: Count("pk", filter=Q(status=status))
        for name, status in (("passed", "passed"), ("failed", "failed"), ("errors", "error"))
    }
    tried = Q(status__in=EvalResult.ENDED) & ~Q(run_id="")
    unknown = Count("pk", filter=tried & (Q(cost_micros=None) | Q(judge_micros=None)))
    sums = EvalResult.objects.filter(eval_run=eval_run_id).aggregate(
        **counts, cost=Sum("cost_micros"), judge=Sum("judge_micros"), unknown=unknown
    )
    EvalRun.objects.filter(pk=eval_run_id).update(
        passed=sums["passed"],
        failed=sums["failed"],
        errors=sums["errors"],
        cost_micros=(sums["cost"] or 0) + (sums["judge"] or 0),
        cost_known=not sums["unknown"],
    )


def find_earlier(
    row: EvalRun, names: Sequence[str], models: Sequence[str]
) -> dict[tuple[str, str], list[EvalResult]]:
    """For each eval and model what it came to the last time before this eval run.

    Eval runs that were stopped or broke off do not count.
    """
    before = EvalResult.objects.filter(
        agent=row.agent,
        name__in=names,
        model__in=models,
        eval_run__status=EvalRun.Status.DONE,
        eval_run__created_at__lt=row.created_at,
        status__in=EvalResult.ENDED,
    )
    newest: dict[tuple[str, str], str] = {}
    cells = before.order_by("name", "model", "-eval_run__created_at", "-eval_run_id")
    for name, model, eval_run in cells.distinct("name", "model").values_list(
        "name", "model", "eval_run_id"
    ):
        newest[name, model] = eval_run
    found: dict[tuple[str, str], list[EvalResult]] = {}
    for result in before.filter(eval_run__in=set(newest.values())).order_by("pk"):
        if newest.get((result.name, result.model)) == result.eval_run_id:
            found.setdefault((result.name, result.model), []).append(result)
    return found
