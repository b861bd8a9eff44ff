"""Files of `automations/` become rows; what staff changed here stays.

Law: files are the defaults, rows are what runs. A column in `changed` is the staff's; all others
follow the file. A row whose file is gone is paused, and goes on when the file is back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from agentsite.manifest.automations import AutomationFile
from agentsite.operations import audit
from agentsite.rows.secrets import Sealed, SecretLost
from automations_app import clock, due
from automations_app.columns import (
    BLOCKS,
    SECRET_COLUMNS,
    Columns,
    digest_secrets,
    find_changed,
    join_secrets,
    pick_secrets,
    read_columns,
    show_columns,
)
from automations_app.models import Automation

logger = logging.getLogger(__name__)

LOCK = 0x6175746F
FILE_GONE = "its file is gone"
ACTOR = "the file"
"""Who has changed what follows a file, in the audit log."""


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
        done: list[Deed | None] = []
        for file in files:
            columns = read_columns(file.spec, secrets)
            row = rows.get(file.name)
            if row is None:
                done.append(_create(agent, file.name, columns))
            else:
                done.append(_update(row, columns))
        named = {file.name for file in files}
        for row in rows.values():
            if row.origin == Automation.Origin.FILE and row.name not in named:
                done.append(_lose_file(row))
        # Last: the log is locked from the first entry on, and others hold rows when they write one.
        for deed in filter(None, done):
            details: dict[str, Any] = {"agent": agent, "automation": deed.name}
            details |= {"before": deed.before, "after": deed.after}
            audit.record(ACTOR, deed.verb, str(deed.key), details)


class Deed(NamedTuple):
    """What has become of a row, for the audit log."""

    verb: str
    key: int
    name: str
    before: dict[str, Any]
    after: dict[str, Any]


def digest(text: str) -> str:
    """A keyed digest: whether a secret is the same, and nothing else."""
    return salted_hmac("automations_app.sync", text, algorithm="sha256").hexdigest()


def _create(agent: str, name: str, columns: Columns) -> Deed:
    row = Automation(
        agent=agent,
        name=name,
        origin=Automation.Origin.FILE,
        file_values=digest_secrets(columns, digest),
        **columns,
    )
    row.save(force_insert=True)
    _arm(row)
    return Deed("automation.created", row.pk, name, {}, show_columns(columns))


def _update(row: Automation, columns: Columns) -> Deed | None:
    values = digest_secrets(columns, digest)
    changes: dict[str, Any] = {}
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if row.file_values != values:
        changed, differing = list(row.changed), find_changed(values, digest_own(row, columns))
        if row.origin == Automation.Origin.STAFF:  # made here before there was a file
            changed = sorted(differing)
        taken = differing.difference(changed)
        before = show_columns({name: getattr(row, name) for name in taken})
        after = show_columns({name: columns[name] for name in taken})
        changes = {name: value for name, value in columns.items() if name not in changed}
        changes |= _merge_secrets(row, columns, [name for name in BLOCKS if name in changed])
        changes |= {
            "origin": Automation.Origin.FILE,
            "file_values": values,
            "changed": changed,
        }
    verb = "automation.changed" if after else "automation.resumed"
    if row.pause_reason == FILE_GONE:
        changes |= {"paused": False, "pause_reason": ""}
        before, after = before | {"paused": True}, after | {"paused": False}
    if changes:
        _change(row, changes)
    return Deed(verb, row.pk, row.name, before, after) if after else None


def digest_own(row: Automation, columns: Columns) -> Columns:
    """These columns as a row has them, with digests; a secret that is lost counts as none."""
    mine = {name: getattr(row, name) for name in columns}
    return digest_secrets(mine | {name: _open(mine[name]) for name in SECRET_COLUMNS}, digest)


def _open(secret: Sealed | None) -> str | None:
    try:
        return None if secret is None else secret.open()
    except SecretLost:
        return None


def _merge_secrets(row: Automation, columns: Columns, ours: list[str]) -> dict[str, str | None]:
    """What is taken out of targets: of `ours`, which staff changed, as here, else as the file's."""
    if not ours:
        return {"target_secrets": columns["target_secrets"]}
    try:
        mine = None if row.target_secrets is None else row.target_secrets.open()
    except SecretLost:  # it may be found again, with its key
        return {"target_secrets": row.target_secrets}
    theirs = [name for name in BLOCKS if name not in ours]
    kept, taken = pick_secrets(mine, ours), pick_secrets(columns["target_secrets"], theirs)
    return {"target_secrets": join_secrets(kept, taken)}


def _lose_file(row: Automation) -> Deed | None:
    if row.file_values is None:  # known; staff may have set it going again
        return None
    if row.paused:
        _change(row, {"file_values": None})
        return None
    _change(row, {"file_values": None, "paused": True, "pause_reason": FILE_GONE})
    after = {"paused": True, "reason": FILE_GONE}
    return Deed("automation.paused", row.pk, row.name, {"paused": False}, after)


def _change(row: Automation, changes: dict[str, Any]) -> None:
    due.let_go(row.pk, changes)
    Automation.objects.filter(pk=row.pk).update(**changes, updated_at=Now())
    _arm(Automation.objects.get(pk=row.pk))


def _arm(row: Automation) -> None:
    try:
        clock.arm(row)
    except ValueError as problem:
        logger.error('automation "%s" of %s has no schedule: %s', row.name, row.agent, problem)
