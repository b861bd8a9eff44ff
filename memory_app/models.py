"""What is remembered of a partition, and what a session has been shown of it.

Law: a partition is (agent, scope). Entries outlive the sessions they come from, so
their source is written down as ids, not as foreign keys.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from memory_app.querysets import MemoryEntryQuerySet, SessionMemoryQuerySet


class MemoryEntry(models.Model):
    """One fact. The text is untrusted wherever it is shown."""

    id = models.CharField(primary_key=True, max_length=32, editable=False)
    """32 hex characters; people and models name an entry by the first eight."""
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    content = models.TextField()
    category = models.CharField(max_length=100, default="", blank=True)
    source_session = models.CharField(max_length=64, default="", blank=True)
    source_run = models.CharField(max_length=64, default="", blank=True)
    """The run whose tool call wrote the text as it stands; empty if a caller wrote it."""
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    """Later than `created_at` once a fuller wording was merged in."""
    last_recalled_at = models.DateTimeField(null=True, blank=True)
    """When it was last put before a model, to the minute."""

    objects = MemoryEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "memory entries"
        indexes: ClassVar[list[models.Index]] = [
            models.Index("agent", "scope_id", "created_at", "id", name="memory_partition"),
            models.Index("source_run", name="memory_source_run"),
            models.Index("source_session", name="memory_source_session"),
            models.Index(F("created_at").desc(), F("id").desc(), name="memory_recent"),
            models.Index(
                "scope_id", F("created_at").desc(), F("id").desc(), name="memory_of_scope"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.short_id} {self.content[:60]}"

    @property
    def short_id(self) -> str:
        return self.id[:8]


class SessionMemory(models.Model):
    """What a session knows: the prompt's section is fixed at its first run, for ever."""

    session = models.OneToOneField(
        "sessions_app.Session", models.CASCADE, primary_key=True, related_name="memory"
    )
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    section = models.TextField(default="", blank=True)
    """Appended to the system prompt of every request of the session, byte for byte."""
    told: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """Ids of the entries it was told of, with the position of the message that told: 0 is
    the prompt. Negative of that position: it was told that the entry is gone."""
    nudged_at = models.IntegerField(default=0)
    """How many user messages the session had when it was last reminded."""
    created_at = models.DateTimeField(db_default=Now())

    objects = SessionMemoryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "session memories"
        indexes: ClassVar[list[models.Index]] = [
            models.Index("agent", "scope_id", name="session_memory_partition"),
        ]

    def __str__(self) -> str:
        return str(self.session_id)
