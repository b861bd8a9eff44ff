"""One row per event of the bus, written in the transaction that makes the change.

Law: a row is numbered after its commit (`reading.number`), so numbers become visible in
order and without holes, whatever order transactions end in. `scope_id` stands on every row.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now

from agentsite.bus.querysets import BusEventQuerySet

LOCK = 0x6275735F
"""Advisory lock of whoever gives numbers, or deletes rows that may have one."""
BLANK = ""
"""Type of a row that is no event any more and only keeps the count."""


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

    @classmethod
    def prepare_erasing(cls, agent: str, scope_id: str) -> int:
        """Blank the newest row if it is of this partition, for it keeps the count; 1 if it was."""
        # Nothing is numbered between this and the deletion, so no other row becomes the newest.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        last = cls._base_manager.aggregate(last=models.Max("seq"))["last"]
        newest = cls._base_manager.filter(seq=last, agent=agent, scope_id=scope_id)
        blank = {"audience": cls.Audience.STAFF, "agent": "", "scope_id": "", "type": BLANK}
        return newest.exclude(seq=None).update(**blank, data="{}")
