"""Files of `automations/` become rows; what staff changed here stays.

Law: files are the defaults, rows are what runs. A column in `changed` is the staff's; all others
follow the file. A row whose file is gone is paused, and goes on when the file is back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from agentsite.manifest.automations import AutomationFile
from automations_app import clock
from automations_app.columns import SECRET_COLUMNS, Columns, digest_secrets, read_columns
from automations_app.models import Automation

logger = logging.getLogger(__name__)

LOCK = 0x6175746F
FILE_GONE = "its file is gone"


def sync_agent(
    agent: str, files: tuple[AutomationFile, ...], secrets: Collection[str] = ()
) -> None:
    """Make the rows of an agent's files what they say. Several processes may do it at once.

    `secrets`: values of the agent's environment, to be kept out of columns that are shown.
    Synchronous, where all scopes are acted for.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK, agent])
        rows = {row.name: row for row in Automation.objects.filter(agent=agent)}
        for file in files:
            columns = read_columns(file.spec, secrets)
            row = rows.get(file.name)
            if row is None:
                _create(agent, file.name, columns)
            else:
                _update(row, columns)
        named = {file.name for file in files}
        for row in rows.values():
            if row.origin == Automation.Origin.FILE and row.name not in named:
                _lose_file(row)


def digest(text: str) -> str:
    """A keyed digest: whether a secret is the same, and nothing else."""
    return salted_hmac("automations_app.sync", text, algorithm="sha256").hexdigest()


def _create(agent: str, name: str, columns: Columns) -> None:
    row = Automation(
        agent=agent,
        name=name,
        origin=Automation.Origin.FILE,
        file_values=digest_secrets(columns, digest),
        **columns,
    )
    row.save(force_insert=True)
    _arm(row)


def _update(row: Automation, columns: Columns) -> None:
    values = digest_secrets(columns, digest)
    changes: dict[str, Any] = {}
    if row.file_values != values:
        changed = list(row.changed)
        if row.origin == Automation.Origin.STAFF:  # made here before there was a file
            changed = sorted(name for name in columns if _differs(row, name, columns[name]))
        kept = set(changed)
        changes = {name: value for name, value in columns.items() if name not in kept}
        changes |= {
            "origin": Automation.Origin.FILE,
            "file_values": values,
            "changed": changed,
        }
    if row.pause_reason == FILE_GONE:
        changes |= {"paused": False, "pause_reason": ""}
    if changes:
        _change(row, changes)


def _differs(row: Automation, name: str, value: Any) -> bool:
    mine = getattr(row, name)
    if name in SECRET_COLUMNS and mine is not None:
        return bool(mine.open() != value)
    return bool(mine != value)


def _lose_file(row: Automation) -> None:
    if row.file_values is None:  # known; staff may have set it going again
        return
    changes: dict[str, Any] = {"file_values": None}
    if not row.paused:
        changes |= {"paused": True, "pause_reason": FILE_GONE}
    _change(row, changes)


def _change(row: Automation, changes: dict[str, Any]) -> None:
    Automation.objects.filter(pk=row.pk).update(**changes, updated_at=Now())
    _arm(Automation.objects.get(pk=row.pk))


def _arm(row: Automation) -> None:
    try:
        clock.arm(row)
    except ValueError as problem:
        logger.error('automation "%s" of %s has no schedule: %s', row.name, row.agent, problem)
