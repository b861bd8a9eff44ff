"""Keys of callers as rows, and the verbs on them.

Law: a key is shown once and stored as a hash. What it may do is read in one short
query; the limit of its rate is one conditional update that all processes share.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import string
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now

SIGN = "ak_"
SHOWN = 10
"""Characters of a key that stay visible."""
SECRET_CHARS = 40
LETTERS = string.ascii_letters + string.digits


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Keys in numbers."""

    def usable(self) -> ApiKeyQuerySet:
        """Keys that are neither revoked nor expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None)

    def revoke(self) -> int:
        """Revoke for good; how many were not revoked before."""
        return self.filter(revoked_at=None).update(revoked_at=Now())


def check_names(value: Any) -> None:
    """A list of names. Raises `ValidationError`."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError('A list of names, such as ["one", "two"]; empty for all.')


class ApiKey(models.Model):
    """What one key may do. Its text is nowhere in here."""

    class Role(models.TextChoices):
        USER = "user"
        ADMIN = "admin"
        OPS = "ops"

    name = models.CharField(max_length=200, help_text="Who or what calls with it.")
    prefix = models.CharField(max_length=SHOWN, editable=False)
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.USER)
    agents = models.JSONField(
        default=list, blank=True, validators=[check_names], help_text="Empty: all agents."
    )
    scopes = models.JSONField(
        default=list,
        blank=True,
        validators=[check_names],
        help_text="Scopes it may act for; an ending * stands for any rest. Empty: all scopes.",
    )
    rate_limit = models.IntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests a minute; empty: no limit.",
    )
    tokens = models.FloatField(default=0, editable=False)
    """Requests it may make at once, as of `refilled_at`."""
    refilled_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=200, default="", blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar[list[str]] = ["-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class KeyFacts(msgspec.Struct, frozen=True):
    """What a usable key may do."""

    id: int
    name: str
    role: str
    agents: tuple[str, ...]
    scopes: tuple[str, ...]
    rate_limit: int | None
    ends_at: dt.datetime | None


def issue_key(key: ApiKey) -> str:
    """Store a new key and return its text, which is stored nowhere."""
    text = SIGN + "".join(secrets.choice(LETTERS) for _ in range(SECRET_CHARS))
    key.prefix, key.key_hash = text[:SHOWN], fingerprint(text)
    key.tokens = float(key.rate_limit or 0)
    key.save(force_insert=True)
    return text


def fingerprint(text: str) -> str:
    """What is stored of a key: it has more than 200 random bits, so a plain hash suffices."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_key(key_hash: str) -> KeyFacts | None:
    """What the key with this hash may do; None if nobody may use it (any more)."""
    row = (
        ApiKey.objects.usable()
        .filter(key_hash=key_hash)
        .values_list("id", "name", "role", "agents", "scopes", "rate_limit", "expires_at")
        .first()
    )
    if row is None:
        return None
    key_id, name, role, agents, scopes, limit, ends_at = row
    return KeyFacts(key_id, name, role, tuple(agents), tuple(scopes), limit, ends_at)


def take_tokens(key_id: int, wanted: int) -> tuple[int, float]:
    """Take up to `wanted` requests out of a key's bucket, which holds one minute's worth.

    How many were given, and if none, in how many seconds the next one will be there.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH bucket AS (SELECT id, rate_limit, clock_timestamp() AS at, refilled_at,"
            " LEAST(rate_limit, tokens + rate_limit / 60.0 * GREATEST(0,"
            "  EXTRACT(EPOCH FROM clock_timestamp() - refilled_at))) AS level"
            " FROM sessions_app_apikey WHERE id = %s AND rate_limit > 0 FOR UPDATE)"
            " UPDATE sessions_app_apikey AS key SET"
            " tokens = level - LEAST(%s, floor(level)),"
            " refilled_at = GREATEST(bucket.at, bucket.refilled_at)"
            " FROM bucket WHERE key.id = bucket.id"
            " RETURNING LEAST(%s, floor(level))::int, (1 - level) * 60.0 / bucket.rate_limit",
            [key_id, wanted, wanted],
        )
        row = cursor.fetchone()
    if row is None:  # the limit was lifted meanwhile
        return wanted, 0.0
    return int(row[0]), max(0.0, float(row[1]))


def note_use(key_ids: Iterable[int]) -> None:
    """Write down that keys were used, of each at most once a minute."""
    ApiKey.objects.filter(
        Q(last_used_at=None) | Q(last_used_at__lt=Now() - dt.timedelta(minutes=1)),
        id__in=list(key_ids),
    ).update(last_used_at=Now())
