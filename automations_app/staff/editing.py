"""What staff change of automations, in one transaction with its history and the audit entry."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from agentsite.operations import audit
from agentsite.rows.secrets import SecretLost
from automations_app import clock, deliveries, due, verbs, webhooks
from automations_app.columns import (
    SECRET_COLUMNS,
    Columns,
    digest_secrets,
    find_changed,
    show_columns,
)
from automations_app.models import Automation, Delivery, InboundDelivery
from automations_app.sync import digest, digest_own


class Outdated(Exception):
    """Somebody else changed the automation meanwhile."""


class NameTaken(Exception):
    """The agent has an automation of that name."""


def create(agent: str, name: str, columns: Columns, user: Any) -> int:
    """Make an automation that has no file; its key. Raises `NameTaken`."""
    row = Automation(agent=agent, name=name, origin=Automation.Origin.STAFF, **columns)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            clock.arm(row)
            _write_down(user, row, ADDITION, "automation.created", {}, show_columns(columns))
    except IntegrityError:
        raise NameTaken from None
    return row.pk


def change(row: Automation, columns: Columns, seen: dt.datetime, user: Any) -> list[str]:
    """Write what differs; the names of those columns. `seen` is when the form was made.

    A column that differs from the file is the staff's from here on; one that is again as the
    file has it follows the file again. Raises `Outdated`.
    """
    differing = sorted(name for name, value in columns.items() if _differs(row, name, value))
    if not differing:
        return []
    new = {name: columns[name] for name in differing}
    changes: dict[str, Any] = {**new, "updated_at": Now()}
    if row.origin == Automation.Origin.FILE:
        mine = digest_secrets(columns, digest)
        touched = {*row.changed, *find_changed(mine, digest_own(row, columns))}
        changes["changed"] = sorted(touched & find_changed(mine, row.file_values or {}))
    before = show_columns({name: getattr(row, name) for name in differing})
    with transaction.atomic():
        if not due.lock(row.pk, updated_at=seen):
            raise Outdated
        due.let_go(row.pk, new)
        Automation.objects.filter(pk=row.pk).update(**changes)
        fresh = Automation.objects.get(pk=row.pk)
        clock.arm(fresh)
        _write_down(user, fresh, CHANGE, "automation.changed", before, show_columns(new))
    return differing


def turn(row: Automation, user: Any, *, paused: bool) -> bool:
    """Pause it or set it going again; False when it was so already."""
    with transaction.atomic():
        reason = f"paused by {user.get_username()}"
        if not (verbs.pause(row.pk, reason) if paused else verbs.resume(row.pk)):
            return False
        verb = "automation.paused" if paused else "automation.resumed"
        _write_down(user, row, CHANGE, verb, {"paused": not paused}, {"paused": paused})
    return True


def forget_changes(row: Automation, user: Any) -> None:
    """Let the file decide on every column again; the caller takes the file over afterwards."""
    with transaction.atomic():
        Automation.objects.filter(pk=row.pk).update(changed=[], file_values={}, updated_at=Now())
        _write_down(user, row, CHANGE, "automation.reverted", {"changed": row.changed}, {})


def replay_inbound(row: InboundDelivery, user: Any) -> str:
    """Run once more on a webhook's payload; the first new run's id. Raises `BadEvent`."""
    with transaction.atomic():
        begun = webhooks.replay(row.pk, user.get_username())
        note(user, row.automation, "automation.replayed", {"inbound": row.pk})
    return begun


def send_again(row: Delivery, user: Any) -> bool:
    """Send a dead letter once more; False when it is none. Raises as `deliveries.replay`."""
    with transaction.atomic():
        if not deliveries.replay(row.pk):
            return False
        note(user, row.automation, "automation.redelivered", {"delivery": row.pk})
    return True


def note(user: Any, row: Automation, verb: str, details: dict[str, Any]) -> None:
    """Write down what was done with an automation without changing it."""
    with transaction.atomic():
        _write_down(user, row, CHANGE, verb, {}, details)


def _differs(row: Automation, name: str, value: Any) -> bool:
    mine = getattr(row, name)
    if name in SECRET_COLUMNS and mine is not None:
        try:
            return bool(mine.open() != value)
        except SecretLost:
            return True
    return bool(mine != value)


def _write_down(
    user: Any, row: Automation, flag: int, verb: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    words = verb.removeprefix("automation.")
    if after and flag == CHANGE:
        words = f"{words}: {', '.join(sorted(after))}"
    LogEntry.objects.create(
        user_id=user.pk,
        content_type_id=ContentType.objects.get_for_model(Automation).pk,
        object_id=str(row.pk),
        object_repr=str(row)[:200],
        action_flag=flag,
        change_message=words,
    )
    details = {"agent": row.agent, "automation": row.name, "before": before, "after": after}
    audit.record(user.get_username(), verb, str(row.pk), details)
