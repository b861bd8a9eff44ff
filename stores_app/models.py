"""Documents as rows: the newest versions, the superseded ones, and what is indexed of them.

Law: `scope_id` stands on every row. Values and the columns for `$contains` and full text
are kept by the database itself (migration 0002), so no writer can forget them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now

from agentsite.rows.fields import VerbatimJSONField
from stores_app.querysets import ScopedQuerySet

AGENT_CHARS = SCOPE_CHARS = STORE_CHARS = 200
KEY_CHARS = 500


class Stored(models.Model):
    """What a document and its superseded versions have in common."""

    agent = models.CharField(max_length=AGENT_CHARS)
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    store = models.CharField(max_length=STORE_CHARS)
    key = models.CharField(max_length=KEY_CHARS, db_collation="C")
    version = models.IntegerField()
    payload: models.JSONField[Any, Any] = models.JSONField()
    trace: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """Who wrote this version: `places.Origin`; kept by stores with `trace`."""
    shared = models.BooleanField(default=False)
    """Every scope may read it; its own is the empty one."""

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.store}/{self.key}"


class Document(Stored):
    """The newest version of a document."""

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["scope_id", "agent", "store", "key"], name="document_key_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["scope_id", "agent", "store", "updated_at", "id"],
                include=["expires_at"],
                name="document_recent",
            ),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(expires_at__isnull=False),
                name="document_due",
            ),
            models.Index("key", models.F("id").desc(), name="document_by_key"),
        ]


class DocumentVersion(Stored):
    """A superseded version; a deleted document's last one as well."""

    id = models.BigAutoField(primary_key=True)
    written_at = models.DateTimeField()
    superseded_at = models.DateTimeField(db_default=Now())
    deleted = models.BooleanField(default=False)
    """It ended by a deletion."""

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["scope_id", "agent", "store", "key", "version"], name="version_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index("key", models.F("id").desc(), name="version_by_key"),
            models.Index(
                models.F("id").desc(), condition=models.Q(deleted=True), name="version_deleted"
            ),
        ]


class VersionFloor(models.Model):
    """The highest version that a deleted document of a store had and no history keeps.

    New documents begin above it, so `ifVersion` never means a document that is gone.
    """

    id = models.BigAutoField(primary_key=True)
    agent = models.CharField(max_length=AGENT_CHARS)
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    store = models.CharField(max_length=STORE_CHARS)
    version = models.IntegerField()

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["scope_id", "agent", "store"], name="version_floor_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.store}: {self.version}"


def _value_index(column: str) -> models.Index:
    return models.Index(
        fields=["scope_id", "slot", column, "document"],
        include=["expires_at", "shared"],
        condition=models.Q((f"{column}__isnull", False)),
        name=f"value_{column.removesuffix('_value')}",
    )


class DocumentValue(models.Model):
    """One scalar of a document in a typed column.

    Comparisons of these types are leakproof, so their indexes serve under row-level security,
    which those of JSONB do not. Kept by the trigger `stores_index`.
    """

    pk = models.CompositePrimaryKey("slot", "document_id")
    document = models.ForeignKey(
        Document, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="values"
    )
    slot = models.BigIntegerField()
    """Hash of agent, store and path (`stores_slot`)."""
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    text_value = models.TextField(null=True, blank=True, db_collation="C")  # noqa: DJ001
    """The first 250 characters of a string; `true` or `false`. Null: the value is of another type.
    """
    number_value = models.FloatField(null=True, blank=True)
    time_value = models.DateTimeField(null=True, blank=True)
    """Of a string that is an ISO date or time."""
    expires_at = models.DateTimeField(null=True, blank=True)
    """The document's own, so that counting needs no second table."""
    shared = models.BooleanField(default=False)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            _value_index("text_value"),
            _value_index("number_value"),
            _value_index("time_value"),
        ]

    def __str__(self) -> str:
        return f"{self.document_id}: {self.text_value or self.number_value}"


class DocumentVector(models.Model):
    """What similarity is judged by: the vector of the fields that a store names in `embed`.

    The columns `vector` (float4[]) and `bits` (their signs) are the database's (migration 0003).
    """

    document = models.OneToOneField(
        Document, models.DO_NOTHING, db_constraint=False, primary_key=True, related_name="vector"
    )
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    agent = models.CharField(max_length=AGENT_CHARS)
    store = models.CharField(max_length=STORE_CHARS)
    shared = models.BooleanField(default=False)
    text_hash = models.CharField(max_length=64, blank=True)
    """Of the text it is made of; empty: there is none. `?` is not known yet."""
    model = models.CharField(max_length=250, default="", blank=True)
    attempts = models.IntegerField(default=0)
    next_try_at = models.DateTimeField()
    problem = models.CharField(max_length=500, default="", blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["scope_id", "agent", "store"], name="vector_partition"),
        ]

    def __str__(self) -> str:
        return str(self.document_id)


class Reference(models.Model):
    """A `ref` field that points at a document; the database lets no target be deleted."""

    id = models.BigAutoField(primary_key=True)
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    """The source's."""
    source = models.ForeignKey(
        Document, models.DO_NOTHING, db_constraint=False, related_name="references"
    )
    target = models.ForeignKey(
        Document, models.DO_NOTHING, db_constraint=False, related_name="referrers"
    )

    objects = ScopedQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.source_id} -> {self.target_id}"


class DeadLetter(models.Model):
    """Documents that a store with `failure.deadLetter` could not take; staff replay them."""

    class Status(models.TextChoices):
        OPEN = "open"
        REPLAYED = "replayed"
        DISCARDED = "discarded"

    id = models.BigAutoField(primary_key=True)
    agent = models.CharField(max_length=AGENT_CHARS)
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    store = models.CharField(max_length=STORE_CHARS)
    items: models.JSONField[Any, Any] = models.JSONField()
    """The payloads that belong together: they are stored together or not at all."""
    problem = models.TextField()
    origin: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    attempts = models.IntegerField(default=1)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["scope_id", "agent", "store"], name="deadletter_partition"),
        ]

    def __str__(self) -> str:
        return f"{self.store} {self.pk}"


class Receipt(models.Model):
    """A tool call's effect, written with it: the same call again finds this and does nothing."""

    id = models.BigAutoField(primary_key=True)
    agent = models.CharField(max_length=AGENT_CHARS)
    scope_id = models.CharField(max_length=SCOPE_CHARS, default="", blank=True)
    call_id = models.CharField(max_length=64)
    result = VerbatimJSONField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["scope_id", "agent", "call_id"], name="receipt_once"),
        ]

    def __str__(self) -> str:
        return self.call_id
