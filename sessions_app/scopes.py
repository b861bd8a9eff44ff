"""Scopes as rows: who was served, what belongs to a scope, and what it may.

Law: a row appears with a scope's first use. Credentials are sealed; whoever needs one names
agent and scope and asks `open_credential`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import ClassVar

import msgspec
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import OuterRef
from django.db.models.functions import Now

from agentsite.rows.secrets import Sealed, SecretField, SecretLost
from sessions_app.querysets import ScopedQuerySet

MAX_SECRET = 4_096
"""Characters: what is longer is no key or token, and everything that leaves is searched for it."""
MAX_CREDENTIALS = 100


class TooManyCredentials(ValueError):
    """A scope has as many secrets as it may."""


class Scope(models.Model):
    """One partition: an agent and a tenant of it."""

    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    label = models.CharField(max_length=200, default="", blank=True)
    context = models.JSONField(
        default=dict,
        blank=True,
        help_text="Values for context injection, under those that a request brings.",
    )
    blocked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    """To the minute."""

    erased_last = True
    """Its block holds off writers while all else of the partition is erased."""
    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["agent", "scope_id"], name="scope_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["scope_id"], name="scope_by_id"),
            models.Index(fields=["-last_seen_at", "-id"], name="scope_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} / {self.label or self.scope_id or '(empty scope)'}"

    def clean(self) -> None:
        """An emptied form is no values; anything but a map of texts is told at the field."""
        if self.context in (None, "", []):
            self.context = {}
        if not is_context(self.context):
            text = 'Values for context injection are texts by name, as in {"team": "blue"}.'
            raise ValidationError({"context": text})


def is_context(value: object) -> bool:
    """Whether it is a map of strings."""
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


class ScopeCredential(models.Model):
    """A secret of one scope, for `scope:NAME` in connections."""

    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    name = models.CharField(max_length=200)
    connection = models.CharField(max_length=200, default="", blank=True)
    """Which connection it was given for, when somebody said so."""
    value = SecretField()
    updated_at = models.DateTimeField(db_default=Now())

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["agent", "scope_id", "name"], name="credential_once"),
        ]

    def __str__(self) -> str:
        return self.name


class ScopeFacts(msgspec.Struct, frozen=True):
    """What requests need to know of a scope."""

    blocked: bool = False
    context: dict[str, str] = {}
    sealed: tuple[Sealed, ...] = ()
    """Its credentials, for whoever must take them out of texts."""


def read_facts(scope_id: str) -> dict[str, ScopeFacts]:
    """What is known of a scope, by agent; one short query."""
    given = ScopeCredential.objects.filter(agent=OuterRef("agent"), scope_id=OuterRef("scope_id"))
    rows = (
        Scope.objects.for_scope(scope_id)
        .annotate(tokens=ArraySubquery(given.values("value")))
        .values_list("agent", "blocked_at", "context", "tokens")
    )
    return {
        agent: ScopeFacts(
            blocked_at is not None,
            # A row that no form has checked must not end every request of its scope.
            {str(key): str(value) for key, value in context.items()}
            if isinstance(context, dict)
            else {},
            tuple(token if isinstance(token, Sealed) else Sealed(token) for token in tokens),
        )
        for agent, blocked_at, context, tokens in rows
    }


def note_scopes(seen: Iterable[tuple[str, str]]) -> None:
    """Make rows of scopes that have none, and say of the others that they were seen."""
    pairs = sorted(set(seen))
    if not pairs:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sessions_app_scope (agent, scope_id, label, context)"
            " SELECT agent, scope_id, '', '{}' FROM unnest(%s::text[], %s::text[])"
            " AS seen (agent, scope_id)"
            " ON CONFLICT (agent, scope_id) DO UPDATE SET last_seen_at = now()"
            " WHERE sessions_app_scope.last_seen_at < now() - interval '1 minute'",
            [[agent for agent, _ in pairs], [scope_id for _, scope_id in pairs]],
        )


def block(scopes: models.QuerySet[Scope]) -> int:
    """Refuse all requests of these scopes from now on; how many were not blocked before."""
    return scopes.filter(blocked_at=None).update(blocked_at=Now())


def unblock(scopes: models.QuerySet[Scope]) -> int:
    """Serve these scopes again; how many were blocked."""
    return scopes.exclude(blocked_at=None).update(blocked_at=None)


def save_credentials(
    agent: str, scope_id: str, values: Mapping[str, str], connection_name: str = ""
) -> None:
    """Seal and store secrets of a scope; what has the same name is replaced.

    Raises `TooManyCredentials`; then none is stored. `ValueError` for one that is too long.
    """
    if any(len(value) > MAX_SECRET for value in values.values()):
        raise ValueError(f"a value is longer than {MAX_SECRET:,} characters")
    with transaction.atomic():
        note_scopes([(agent, scope_id)])
        _check_room(agent, scope_id, values)
        _store(agent, scope_id, values, connection_name)


def _check_room(agent: str, scope_id: str, values: Mapping[str, str]) -> None:
    # One at a time for each scope, so that none slips in between counting and storing.
    Scope.objects.for_scope(scope_id).filter(agent=agent).select_for_update().get()
    others = ScopeCredential.objects.for_scope(scope_id).filter(agent=agent)
    if others.exclude(name__in=values).count() + len(values) > MAX_CREDENTIALS:
        text = f"A scope may have {MAX_CREDENTIALS} credentials. Save under a name that it has."
        raise TooManyCredentials(text)


def _store(agent: str, scope_id: str, values: Mapping[str, str], connection_name: str) -> None:
    now = dt.datetime.now(dt.UTC)
    ScopeCredential.objects.bulk_create(
        [
            ScopeCredential(
                agent=agent,
                scope_id=scope_id,
                name=name,
                connection=connection_name,
                value=Sealed.of(value),
                updated_at=now,
            )
            for name, value in sorted(values.items())
        ],
        update_conflicts=True,
        unique_fields=["agent", "scope_id", "name"],
        update_fields=["connection", "value", "updated_at"],
    )


def open_credential(agent: str, scope_id: str, name: str) -> str | None:
    """The secret of this name that the scope gave, or None. Raises `SecretLost`."""
    sealed = (
        ScopeCredential.objects.for_scope(scope_id)
        .filter(agent=agent, name=name)
        .values_list("value", flat=True)
        .first()
    )
    return None if sealed is None else sealed.open()


def open_all(sealed: Iterable[Sealed]) -> tuple[str, ...]:
    """The texts of secrets, for the redactor; what cannot be read any more cannot leak either."""
    found = []
    for each in sealed:
        with suppress(SecretLost):
            found.append(each.open())
    return tuple(found)


def read_sealed(agent: str, scope_id: str) -> tuple[Sealed, ...]:
    """All secrets of a scope, sealed, for the redactor."""
    rows = ScopeCredential.objects.for_scope(scope_id).filter(agent=agent)
    return tuple(rows.values_list("value", flat=True))


def read_sealed_of(partitions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Sealed]]:
    """The same for many partitions (agent, scope) at once; those that have none are left out."""
    pairs = set(partitions)
    found: dict[tuple[str, str], list[Sealed]] = {}
    if pairs:
        rows = ScopeCredential.objects.filter(
            agent__in={agent for agent, _ in pairs}, scope_id__in={scope for _, scope in pairs}
        )
        for agent, scope_id, value in rows.values_list("agent", "scope_id", "value"):
            if (agent, scope_id) in pairs:
                found.setdefault((agent, scope_id), []).append(value)
    return found
