"""What is late: deliveries whose time has come, and runs that nobody starts.

Law: the figures of the dashboard and the lists behind them ask here, so they agree.
"""

from __future__ import annotations

import datetime as dt

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from automations_app.models import AutomationRun, Delivery

STUCK_AFTER = dt.timedelta(minutes=5)


def find_due(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Of these deliveries those that may be sent now: without retries that still wait."""
    return rows.filter(status=Delivery.Status.PENDING, next_try_at__lte=Now())


def find_stuck(rows: QuerySet[AutomationRun]) -> QuerySet[AutomationRun]:
    """Of these runs those that could have been started for five minutes, and nobody has.

    A run that waits for another one of its automation and scope is not stuck.
    """
    status = AutomationRun.Status
    at_work = AutomationRun._default_manager.filter(
        automation=OuterRef("automation"),
        scope_id=OuterRef("scope_id"),
        status__in=(status.RUNNING, status.WAITING),
    )
    long_ago = Now() - STUCK_AFTER
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=long_ago)
    return rows.filter(unclaimed, ~Exists(at_work), status=status.QUEUED, created_at__lt=long_ago)
