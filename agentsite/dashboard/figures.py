"""What the dashboard says about runs, as of now.

Law: every question reads a bounded number of rows by an index, however many there are; what it
looked at is said beside the figure.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from django.db import connection

MOST = 10_000
"""Of things that wait; more are told as "more than"."""
RECENT = 5_000
"""Runs, and model calls, that rates and percentiles are taken of: the newest of the last day."""


class Waiting(msgspec.Struct, frozen=True):
    """How many wait, and since when the first of them."""

    count: int
    since: dt.datetime | None

    @property
    def words(self) -> str:
        """The number, or that it is a large one."""
        return f"{self.count:,}" if self.count < MOST else f"more than {MOST:,}"


class Speed(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds; None where nothing was seen."""

    p50: float | None
    p95: float | None


class Runs(msgspec.Struct, frozen=True):
    """What was seen of the runs of the last day."""

    looked_at: int
    reasons: dict[str, int]
    """Ends by their reason, the most frequent first."""
    duration: Speed
    first_delta: Speed

    @property
    def error_rate(self) -> float | None:
        """Failed runs, in percent of those that ended."""
        ended = sum(self.reasons.values())
        return 100 * self.reasons.get("error", 0) / ended if ended else None


WORKING = f"""
SELECT status, count(*), min(created_at) FROM (
    SELECT status, created_at FROM sessions_app_run WHERE status IN ('running', 'waiting')
    LIMIT {MOST}) live GROUP BY status
"""  # noqa: S608 - our own words
QUEUED = f"""
SELECT count(*), min(created_at) FROM (
    SELECT created_at FROM sessions_app_run WHERE status = 'queued' LIMIT {MOST}) queued
"""  # noqa: S608 - our own words
QUESTIONS = f"""
SELECT count(*), min(created_at) FROM (
    SELECT created_at FROM sessions_app_interaction WHERE status = 'open' LIMIT {MOST}) open
"""  # noqa: S608 - our own words
ENDS = f"""
SELECT reason, count(*), array_agg(extract(epoch FROM ended_at - created_at) - parked_seconds)
FROM (SELECT reason, ended_at, created_at, parked_seconds, session_id, copy_of
    FROM sessions_app_run
    WHERE created_at >= now() - interval '1 day' ORDER BY created_at DESC, id DESC LIMIT {RECENT}
) newest WHERE reason <> '' AND copy_of = '' AND NOT EXISTS (SELECT FROM sessions_app_session s
    WHERE s.id = newest.session_id AND s.session_type IN ('replay', 'eval'))
GROUP BY reason ORDER BY 2 DESC
"""  # noqa: S608 - our own words
FIRST_DELTA = f"""
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY first_token_ms)
FROM (SELECT first_token_ms, purpose FROM sessions_app_modelcall
    WHERE created_at >= now() - interval '1 day' ORDER BY created_at DESC, id DESC LIMIT {RECENT}
) newest WHERE purpose = 'main' AND first_token_ms IS NOT NULL
"""  # noqa: S608 - our own words


def read_live() -> dict[str, Waiting]:
    """What works or waits: `running`, `waiting`, `queued` runs and open `questions`."""
    found = {name: Waiting(0, None) for name in ("running", "waiting")}
    found |= {str(row[0]): Waiting(int(row[1]), row[2]) for row in ask(WORKING)}
    for name, sql in (("queued", QUEUED), ("questions", QUESTIONS)):
        ((count, since),) = ask(sql)
        found[name] = Waiting(int(count), since)
    return found


def read_runs() -> Runs:
    """Ends, durations and first deltas of the newest runs of the last day.

    Copies, replays and evals are among those that are looked at, and are left out.
    """
    rows = ask(ENDS)
    took = sorted(float(each) for _, _, seconds in rows for each in seconds if each is not None)
    ((first,),) = ask(FIRST_DELTA)
    return Runs(
        looked_at=sum(int(count) for _, count, _ in rows),
        reasons={str(reason): int(count) for reason, count, _ in rows},
        duration=Speed(_at(took, 0.5), _at(took, 0.95)),
        first_delta=Speed(*first) if first else Speed(None, None),
    )


def _at(ordered: list[float], part: float) -> float | None:
    """A percentile of seconds, in milliseconds."""
    return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def ask(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a question of our own."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
