"""Questions about rows of the bus."""

from __future__ import annotations

from typing import Any, Self

from django.db import models


class BusEventQuerySet(models.QuerySet[Any]):
    """Rows that carry a `scope_id`."""

    def for_scope(self, scope_id: str) -> Self:
        """What callers of one scope may see. None is an error, never "all"."""
        if not isinstance(scope_id, str):
            raise TypeError("for_scope needs a scope id; the empty string is a scope of its own")
        mine = models.Q(audience="scope", scope_id=scope_id)
        return self.filter(mine | models.Q(audience="everyone"))
