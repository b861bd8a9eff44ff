"""Budgets: money is kept back before a model call, and given back with the row of its cost.

Law: the database decides, in one function under a lock that lasts for its own short transaction
(migration 0004); what is spent and what is held are read in one statement, so parallel calls
never go beyond a limit together. Synchronous: for `unit`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence

import msgspec
from django.db import connection, transaction

from agentsite.operations.alerts import raise_once
from agentsite.operations.models import Alert, Budget, Reservation

CLOSING = "closing"
"""Purpose of what is kept back for a run's closing turn."""
KEPT_DAYS = 62
STOPPED = 100
"""Percent: nothing more fits."""
PERIODS = {"day": "today", "month": "this month", "run": "this run"}


class Limit(msgspec.Struct, frozen=True):
    """A limit that an agent's manifest gives; operators' rows replace it."""

    kind: str
    period: str
    micros: int
    soft: float = 0.8


class Payer(msgspec.Struct, frozen=True):
    """Whose money a model call is."""

    agent: str
    scope_id: str
    run_id: str
    attempt: int = 1
    key_id: int | None = None
    in_run: bool = True
    """False: the call belongs to no run, and `run_id` is a name that no run has."""


class Standing(msgspec.Struct, frozen=True):
    """How a budget stands; all in micro-dollars."""

    kind: str
    period: str
    limit_micros: int
    spent: int
    held: int
    soft: float = 0.8

    @property
    def left(self) -> int:
        """What may still be kept back."""
        return self.limit_micros - self.spent - self.held

    def words(self) -> str:
        """What is used up, for people; without figures, which are the operators'."""
        whose = {"scope": "this scope", "agent": "this agent", "key": "this key", "run": "a run"}
        if self.kind == "run":
            return "The budget of this run is used up."
        return f"The budget of {whose[self.kind]} for {PERIODS[self.period]} is used up."


class Asked(msgspec.Struct, frozen=True):
    """What is to be kept back for a call, in micro-dollars."""

    id: str
    purpose: str
    least: int
    """With less than this the call makes no sense."""
    most: int
    closing: int | None = None
    """For the closing turn besides; 0: this is the closing turn, None: it stays as it is."""
    seconds: float = 900.0
    """After which the call is taken for lost."""


def reserve(payer: Payer, limits: Sequence[Limit], asked: Asked) -> int | Standing | None:
    """Keep money back: how much, the budget that has too little left, or None without any."""
    given = [msgspec.to_builtins(limit) for limit in limits]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT agentsite_reserve(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                asked.id, payer.agent, payer.scope_id, payer.key_id, payer.run_id, payer.attempt,
                asked.purpose, asked.least, asked.most, asked.closing, asked.seconds,
                json.dumps(given),
            ],
        )  # fmt: skip
        (told,) = cursor.fetchone() or (None,)
    answer = json.loads(told) if isinstance(told, str) else told
    if answer is None:
        return None
    if "granted" in answer:
        return int(answer["granted"])
    return msgspec.convert(answer["refused"], Standing)


def settle(ids: Iterable[str]) -> None:
    """Give back what was held for calls; in the transaction that writes their rows."""
    chosen = tuple(ids)
    if chosen:
        Reservation.objects.filter(pk__in=chosen)._raw_delete("default")


def release(run_id: str) -> None:
    """Give back all that is held for a run: it has ended, or waits for a person.

    Its calls are written by then; a title is made later, and what was lost is not given back.
    """
    held = Reservation.objects.filter(run_id=run_id, lost_at=None)
    held.exclude(purpose="title")._raw_delete("default")


def forfeit(run_id: str, attempt: int) -> None:
    """Another attempt was lost: what its calls have cost nobody knows, so it counts as spent."""
    held = Reservation.objects.filter(run_id=run_id, attempt__lt=attempt)
    held.filter(purpose=CLOSING)._raw_delete("default")
    held.filter(lost_at=None).update(lost_at=dt.datetime.now(dt.UTC))


def forget_lost() -> int:
    """Delete what was held so long ago that no period counts it; how many."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=KEPT_DAYS)
    return Reservation.objects.filter(created_at__lt=before, expires_at__lt=before).delete()[0]


def read_standing(payer: Payer, limits: Sequence[Limit]) -> list[Standing]:
    """How each budget stands that a payer counts against; as the owner of the tables."""
    given = json.dumps([msgspec.to_builtins(limit) for limit in limits])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.kind, l.period, l.limit_micros, s.spent, s.held, l.soft::float8"
            " FROM agentsite_limits(%s, %s, %s, %s) l CROSS JOIN LATERAL agentsite_spent("
            "  l.kind, agentsite_period_start(l.period), %s, %s, %s, %s, false) s",
            [
                payer.agent, payer.scope_id, payer.key_id, given,
                payer.agent, payer.scope_id, payer.key_id, payer.run_id,
            ],
        )  # fmt: skip
        return [Standing(*row) for row in cursor.fetchall()]


def read_standings(budget_ids: Sequence[int]) -> dict[int, Standing]:
    """How budgets of operators stand, by their ids, in one query; as the owner of the tables.

    Those of runs are not among them: each run has its own.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT b.id, b.kind, b.period, (b."limit" * 1000000)::bigint, s.spent, s.held,'
            " b.soft::float8 FROM operations_budget b CROSS JOIN LATERAL agentsite_spent("
            "  b.kind, agentsite_period_start(b.period),"
            "  CASE b.kind WHEN 'agent' THEN b.subject ELSE b.agent END, b.scope_id,"
            "  CASE WHEN b.kind = 'key' AND b.subject ~ '^[0-9]{1,18}$'"
            "   THEN b.subject::bigint END, '', false) s"
            " WHERE b.id = ANY(%s) AND b.kind <> 'run'",
            [list(budget_ids)],
        )
        return {key: Standing(*row) for key, *row in cursor.fetchall()}


def raise_alerts(payer: Payer, limits: Sequence[Limit], refused: Standing | None = None) -> int:
    """Tell operators, once for each period (or run) and threshold, what passed its soft limit.

    `refused` is a budget that has just stopped a call. Of a run's budget nobody is told for a call
    that belongs to none. How many were told; as the owner.
    """
    told = 0
    with transaction.atomic():
        for standing in read_standing(payer, limits):
            percent = min(round(standing.soft * 100), STOPPED - 1)
            # At a soft share of 1, or with nothing to spend, the stop alone is told of.
            passed = 0 < standing.spent >= standing.soft * standing.limit_micros
            if standing.soft < 1 and passed and _concerns(payer, standing):
                told += _raise(payer, standing, percent)
        if refused is not None and _concerns(payer, refused):
            told += _raise(payer, refused, STOPPED)
    return told


def _concerns(payer: Payer, standing: Standing) -> bool:
    return payer.in_run or standing.kind != "run"


def _raise(payer: Payer, standing: Standing, percent: int) -> int:
    of_scope, of_run = standing.kind == "scope", standing.kind == "run"
    named = {
        "scope": f"scope {payer.agent} / {payer.scope_id or '(empty)'}",
        "key": f"key {payer.key_id}",
        "run": f"a run of {payer.agent}",
    }.get(standing.kind, f"agent {payer.agent}")
    stopped = percent == STOPPED
    what = "is used up, calls are refused" if stopped else f"has passed {percent} %"
    # Each run passes a soft limit of its own; that runs are stopped is told once a day.
    start = payer.run_id if of_run and not stopped else _start(standing.period).isoformat()
    alert = Alert(
        kind="budget",
        level=Alert.Level.CRITICAL if stopped else Alert.Level.WARNING,
        agent=payer.agent if of_scope else "",
        scope_id=payer.scope_id if of_scope else "",
        title=f"The budget of {named}, {PERIODS[standing.period]}, {what}"[:300],
        details={**msgspec.to_builtins(standing), "run": payer.run_id},
        once=f"budget {named} {standing.period} {start} {percent}"[:500],
    )
    return raise_once(alert)


def _start(period: str) -> dt.date:
    today = dt.datetime.now(dt.UTC).date()
    return today.replace(day=1) if period == "month" else today


class Set(msgspec.Struct, frozen=True):
    """Which budgets operators have set, as far as runs must know."""

    subjects: frozenset[tuple[str, str, str, str]] = frozenset()
    """Kind, agent, scope, subject."""
    too_many: bool = False
    """More than are worth knowing: ask for each call."""


MOST_KNOWN = 20_000


def read_set() -> Set:
    """All subjects that operators have set budgets for; as the owner."""
    # One subject may have budgets for several periods.
    rows = Budget.objects.order_by().values_list("kind", "agent", "scope_id", "subject").distinct()
    found = frozenset(rows[: MOST_KNOWN + 1])
    return Set(too_many=True) if len(found) > MOST_KNOWN else Set(found)
