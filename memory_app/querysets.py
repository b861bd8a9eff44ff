"""Questions about many rows. Everything starts from `for_partition`, never from `all`."""

from __future__ import annotations

from typing import Any, Self

from django.db import models


class PartitionedQuerySet(models.QuerySet[Any]):
    """Rows that carry `agent` and `scope_id`."""

    def for_partition(self, agent: str, scope_id: str) -> Self:
        """Rows of one agent and scope. None is an error, never "all"."""
        for value in (agent, scope_id):
            if not isinstance(value, str):
                raise TypeError("a partition needs an agent and a scope id; the empty one is one")
        return self.filter(agent=agent, scope_id=scope_id)


class MemoryEntryQuerySet(PartitionedQuerySet):
    def oldest_first(self) -> Self:
        """The order in which entries are numbered."""
        return self.order_by("created_at", "id")


class SessionMemoryQuerySet(PartitionedQuerySet):
    def shown(self, entry_id: str) -> Self:
        """Sessions that were told of an entry, newest first."""
        return self.filter(told__has_key=entry_id).order_by("-created_at")
