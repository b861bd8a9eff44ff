"""One row per event of the bus, written in the transaction that makes the change.

Law: a row is numbered after its commit (`reading.number`), so numbers become visible in
order and without holes, whatever order transactions end in. `scope_id` stands on every row.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agentsite.bus.querysets import BusEventQuerySet


class BusEvent(models.Model):
    """Something that has changed."""

    class Audience(models.TextChoices):
        SCOPE = "scope"
        """The callers of its scope."""
        EVERYONE = "everyone"
        STAFF = "staff"
        """Nobody else."""

    id = models.BigAutoField(primary_key=True)
    seq = models.BigIntegerField(null=True, blank=True)
    """Its number on the wire; null until somebody has read it after its commit."""
    audience = models.CharField(max_length=8, choices=Audience.choices, default=Audience.SCOPE)
    agent = models.CharField(max_length=200, default="", blank=True)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    type = models.CharField(max_length=40)
    data = models.TextField()
    """JSON of the event (`catalogue`), its type included."""
    created_at = models.DateTimeField(db_default=Now())

    objects = BusEventQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["seq"], name="bus_number_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index("id", condition=Q(seq__isnull=True), name="bus_unnumbered"),
            models.Index("scope_id", "seq", name="bus_scope"),
            models.Index("created_at", name="bus_age"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
