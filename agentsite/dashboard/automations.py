"""How scheduler and deliveries do: what is late, what fails, what is dead."""

from __future__ import annotations

import datetime as dt

import msgspec

from agentsite.dashboard.figures import MOST, Waiting, ask


class Schedule(msgspec.Struct, frozen=True):
    """The scheduler and its runs over the last day."""

    last_due: dt.datetime | None
    """The newest occurrence that was claimed."""
    stuck: int
    """Runs that could have been started for five minutes, and nobody has."""
    open_runs: Waiting
    failed: int
    missed: int


class Deliveries(msgspec.Struct, frozen=True):
    """Results and alerts on their way."""

    due: Waiting
    """Those whose time has come, and for how long."""
    dead: int
    """Given up in the last day."""


SCHEDULE = f"""
SELECT (SELECT due_at FROM automations_app_occurrence ORDER BY due_at DESC, id DESC LIMIT 1),
    (SELECT count(*) FROM (SELECT FROM automations_app_automationrun r
        WHERE status = 'queued' AND created_at < now() - interval '5 minutes'
        AND (claimed_until IS NULL OR claimed_until < now() - interval '5 minutes')
        AND NOT EXISTS (SELECT FROM automations_app_automationrun o
            WHERE o.automation_id = r.automation_id AND o.scope_id = r.scope_id
            AND o.status IN ('running', 'waiting')) LIMIT {MOST}) stuck),
    (SELECT count(*) FROM (SELECT status FROM automations_app_automationrun
        WHERE created_at >= now() - interval '1 day' ORDER BY created_at DESC, id DESC LIMIT 5000
        ) newest WHERE status = 'failed'),
    (SELECT count(*) FROM (SELECT status FROM automations_app_occurrence
        WHERE due_at >= now() - interval '1 day' ORDER BY due_at DESC, id DESC LIMIT 5000
        ) newest WHERE status = 'missed')
"""  # noqa: S608 - our own words
OPEN_RUNS = f"""
SELECT count(*), min(created_at) FROM (SELECT created_at FROM automations_app_automationrun
    WHERE status IN ('queued', 'running', 'waiting') LIMIT {MOST}) open
"""  # noqa: S608 - our own words
DUE = f"""
SELECT count(*), min(next_try_at) FROM (SELECT next_try_at FROM automations_app_delivery
    WHERE status = 'pending' AND next_try_at <= now() LIMIT {MOST}) due
"""  # noqa: S608 - our own words
DEAD = """
SELECT count(*) FROM (SELECT status FROM automations_app_delivery
    WHERE created_at >= now() - interval '1 day' ORDER BY created_at DESC, id DESC LIMIT 5000
    ) newest WHERE status = 'dead'
"""


def read_schedule() -> Schedule:
    """As of now."""
    ((last, stuck, failed, missed),) = ask(SCHEDULE)
    ((count, since),) = ask(OPEN_RUNS)
    return Schedule(last, int(stuck), Waiting(int(count), since), int(failed), int(missed))


def read_deliveries() -> Deliveries:
    """As of now."""
    ((count, since),) = ask(DUE)
    ((dead,),) = ask(DEAD)
    return Deliveries(Waiting(int(count), since), int(dead))
