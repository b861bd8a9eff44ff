"""Model calls added up by day: what cost pages and budgets read instead of a million rows.

Law: the database adds (migration 0011, a trigger at the end of each transaction that writes or
deletes a `ModelCall`), so sums equal the rows exactly, whoever writes them. Days are UTC. What
was charged is never taken back by deleting rows, save with the scope it belongs to.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import connection, models

from sessions_app.metered import Metered

KIND = ("provider", "model", "purpose")
"""What a day is divided by, besides agent and scope."""


class Sums(Metered):
    """What is added up."""

    calls = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    unpriced = models.BigIntegerField(default=0)
    """Calls whose price nobody knows: their cost is not in `cost_micros`."""
    cost_micros = models.BigIntegerField(default=0)
    charge_micros = models.BigIntegerField(default=0)
    """What budgets count (`ModelCall.charge_micros`)."""

    class Meta:
        abstract = True


class UsageDay(Sums):
    """A day of one scope, for each model and purpose."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    provider = models.CharField(max_length=50)
    model = models.CharField(max_length=200)
    purpose = models.CharField(max_length=12)

    class Meta:
        verbose_name = "cost and usage"
        verbose_name_plural = "cost and usage"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["scope_id", "agent", "day", *KIND], name="usage_day_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["day"], name="usage_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.agent} / {self.scope_id or '(empty)'}"


class AgentDay(Sums):
    """The same for all scopes of an agent together."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    agent = models.CharField(max_length=200)
    provider = models.CharField(max_length=50)
    model = models.CharField(max_length=200)
    purpose = models.CharField(max_length=12)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["agent", "day", *KIND], name="agent_day_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["day"], name="agent_usage_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.agent}"


class KeyDay(models.Model):
    """What the runs of one API key were charged on a day."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    key_id = models.BigIntegerField()
    charge_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key_id", "day"], name="key_day_once"),
        ]

    def __str__(self) -> str:
        return f"{self.day} key {self.key_id}"


def rebuild() -> None:
    """Add everything up anew, from the rows.

    For whoever writes model calls in bulk with triggers off; nothing else may write meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT agentsite_rebuild_usage()")
