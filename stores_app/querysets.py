"""Questions about many rows of stores. Whoever reads starts from `for_scope`, never from `all`."""

from __future__ import annotations

from typing import Any, Self

from django.db import models


class ScopedQuerySet(models.QuerySet[Any]):
    """Rows that carry a `scope_id`."""

    def for_scope(self, scope_id: str) -> Self:
        """Rows of one scope. None is an error, never "all"."""
        if not isinstance(scope_id, str):
            raise TypeError("for_scope needs a scope id; the empty string is a scope of its own")
        return self.filter(scope_id=scope_id)

    def of_store(self, agent: str, scope_id: str, store: str) -> Self:
        """Rows of one store in one partition."""
        return self.for_scope(scope_id).filter(agent=agent, store=store)
