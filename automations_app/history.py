"""What goes when its time is over: ended runs, what they said and delivered, webhooks, due times.

Law: nothing goes that is still to happen. Of each automation the newest run and the newest due
time stay: lists tell of the one, what is due next is counted from the other; and of each of its
partitions the newest run that succeeded, which the next one is told of. Small transactions, so it
may be stopped at any time and run in several processes at once. A conversation goes with its run;
one that went on when its run went is looked for later, once it is archived and old itself.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from automations_app.models import AutomationRun, Delivery, InboundDelivery, Occurrence
from sessions_app.expiry import purge_archived
from sessions_app.models import Run, Session

STEP = 500
"""Rows of one kind in one transaction."""


def forget(age: dt.timedelta, step: int = STEP) -> int:
    """Delete what ended longer ago than that, `step` rows at a time.

    Returns how many rows, without deliveries and conversations that went with their runs.
    """
    old = Now() - age
    runs, owner = AutomationRun.objects.all(), OuterRef("automation")
    pending = Delivery.objects.filter(automation_run=OuterRef("pk"), status="pending")
    newest_run = runs.filter(automation=owner).order_by("-created_at", "-pk").values("pk")[:1]
    good = runs.filter(automation=owner, scope_id=OuterRef("scope_id"), status="success")
    newest_good = good.order_by("-ended_at", "-created_at", "-pk").values("pk")[:1]
    newest_due = Occurrence.objects.filter(automation=owner).order_by("-due_at").values("pk")[:1]
    ended = runs.exclude(status__in=AutomationRun.OPEN).filter(created_at__lt=old, ended_at__lt=old)
    return (
        _delete_runs(ended.filter(~Exists(pending), ~Q(pk=newest_run), ~Q(pk=newest_good)), step)
        + _delete_all(
            InboundDelivery.objects.filter(
                ~Exists(runs.filter(inbound=OuterRef("pk"))), received_at__lt=old
            ),
            step,
        )
        + _delete_all(
            Occurrence.objects.filter(
                ~Exists(runs.filter(occurrence=OuterRef("pk"))),
                ~Q(pk=newest_due),
                due_at__lt=old,
                claimed_at__lt=old,
            ),
            step,
        )
        + _purge_left(age, step)
    )


def _delete_runs(rows: QuerySet[AutomationRun], step: int) -> int:
    """With what was said in them, which holds what was sent; what they cost stays counted."""
    total = 0
    while ids := list(rows.values_list("pk", flat=True)[:step]):
        with transaction.atomic():
            # By the conditions once more: one with a delivery that is sent again stays.
            going = rows.filter(pk__in=ids).select_for_update(of=("self",))
            sessions = dict(going.values_list("pk", "session_id"))
            AutomationRun.objects.filter(pk__in=sessions).delete()
            purge_archived(list(sessions.values()))
        total += len(ids)
    return total


def _purge_left(age: dt.timedelta, step: int) -> int:
    """Conversations of runs that are gone, with their automation or before they were archived."""
    runs = AutomationRun.objects.exclude(session_id="")  # said for the index of the others
    copies = Run.objects.filter(session=OuterRef("pk")).exclude(copy_of="")
    left = Session.objects.filter(
        ~Exists(runs.filter(session_id=OuterRef("pk"))),
        ~Exists(copies),  # a fork is of whoever made it
        session_type="automation",
        status=Session.Status.ARCHIVED,
        last_message_at__lt=Now() - age,
    )
    total = 0
    while ids := list(left.values_list("pk", flat=True)[:step]):
        with transaction.atomic():
            purge_archived(ids)
        total += len(ids)
    return total


def _delete_all(rows: QuerySet[Any], step: int) -> int:
    total = 0
    while ids := list(rows.values_list("pk", flat=True)[:step]):
        # By the conditions once more: what was replayed meanwhile stays.
        rows.filter(pk__in=ids).delete()
        total += len(ids)
    return total
