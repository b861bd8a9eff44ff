"""How scheduler and deliveries do: what is late, what fails, what is dead."""

from __future__ import annotations

import datetime as dt

import msgspec
from django.db.models import Count, Min

from agentsite.dashboard.figures import MOST, Waiting, ask
from automations_app.late import find_due, find_stuck
from automations_app.models import AutomationRun, Delivery


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


SCHEDULE = """
SELECT (SELECT due_at FROM automations_app_occurrence ORDER BY due_at DESC, id DESC LIMIT 1),
    (SELECT count(*) FROM (SELECT status FROM automations_app_automationrun
        WHERE created_at >= now() - interval '1 day' ORDER BY created_at DESC, id DESC LIMIT 5000
        ) newest WHERE status = 'failed'),
    (SELECT count(*) FROM (SELECT status FROM automations_app_occurrence
        WHERE due_at >= now() - interval '1 day' ORDER BY due_at DESC, id DESC LIMIT 5000
        ) newest WHERE status = 'missed')
"""
OPEN_RUNS = f"""
SELECT count(*), min(created_at) FROM (SELECT created_at FROM automations_app_automationrun
    WHERE status IN ('queued', 'running', 'waiting') LIMIT {MOST}) open
"""  # noqa: S608 - our own words
DEAD = """
SELECT count(*) FROM (SELECT status FROM automations_app_delivery
    WHERE created_at >= now() - interval '1 day' ORDER BY created_at DESC, id DESC LIMIT 5000
    ) newest WHERE status = 'dead'
"""


def read_schedule() -> Schedule:
    """As of now."""
    ((last, failed, missed),) = ask(SCHEDULE)
    stuck = find_stuck(AutomationRun._default_manager.order_by())[:MOST].count()
    ((count, since),) = ask(OPEN_RUNS)
    return Schedule(last, stuck, Waiting(int(count), since), int(failed), int(missed))


def read_deliveries() -> Deliveries:
    """As of now."""
    due = find_due(Delivery._default_manager.order_by()).values("next_try_at")[:MOST]
    told = due.aggregate(count=Count("*"), since=Min("next_try_at"))
    ((dead,),) = ask(DEAD)
    return Deliveries(Waiting(told["count"], told["since"]), int(dead))
