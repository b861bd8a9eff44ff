"""Questions about many rows. Views start from `for_scope`, never from `all`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models

if TYPE_CHECKING:
    from sessions_app import models as rows


class ScopedQuerySet(models.QuerySet[Any]):
    """Rows that carry a `scope_id`."""

    def for_scope(self, scope_id: str) -> Self:
        """Rows of one partition. None is an error, never "all"."""
        if not isinstance(scope_id, str):
            raise TypeError("for_scope needs a scope id; the empty string is a scope of its own")
        return self.filter(scope_id=scope_id)


class SessionQuerySet(ScopedQuerySet):
    def spoken(self) -> Self:
        """Without what operators replayed, and without evals: no user has said it."""
        return self.exclude(session_type__in=("replay", "eval"))

    def page(self, cursor: tuple[Any, str] | None, limit: int) -> list[rows.Session]:
        """Newest first by (updated_at, id); `cursor` is the last row's pair; `limit` + 1 rows."""
        rows = self.order_by("-updated_at", "-id")
        if cursor is not None:
            moment, row_id = cursor
            rows = rows.filter(
                models.Q(updated_at__lt=moment) | models.Q(updated_at=moment, id__lt=row_id)
            )
        return list(rows[: limit + 1])


class RunQuerySet(ScopedQuerySet):
    def live(self) -> Self:
        return self.filter(status__in=("running", "waiting"))


class MessageQuerySet(ScopedQuerySet):
    def of_session(self, session_id: str) -> Self:
        return self.filter(session_id=session_id).order_by("position")


class ModelCallQuerySet(ScopedQuerySet):
    pass


class EventBatchQuerySet(ScopedQuerySet):
    def after(self, session_id: str, seq: int) -> Self:
        """Batches with an event above `seq`, in order."""
        return self.filter(session_id=session_id, last_seq__gt=seq).order_by("first_seq")
