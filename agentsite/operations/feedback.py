"""What people think of answers: a thumb and a word under each, for operators to review."""

from __future__ import annotations

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from agentsite.operations import audit
from agentsite.operations.models import Feedback

RESPONSE_CHARS = 2_000
"""Of an answer, kept beside the thumb."""


class Rated(msgspec.Struct, frozen=True):
    """A thumb, and the answer that it is about as the rows have it."""

    agent: str
    scope_id: str
    session_id: str
    run_id: str
    message_id: str
    rating: str
    comment: str
    query: str
    response: str
    tool_calls: list[str]
    model: str


def rate(rated: Rated) -> int:
    """Keep a thumb; a second one of the same message takes the first one's place. Its key."""
    values = msgspec.structs.asdict(rated)
    values["response"] = rated.response[:RESPONSE_CHARS]
    place = {name: values.pop(name) for name in ("session_id", "message_id")}
    row, _ = Feedback.objects.update_or_create(
        **place, defaults={**values, "reviewed_at": None, "reviewed_by": ""}
    )
    return row.pk


def list_of(session_id: str) -> dict[str, str]:
    """Ratings of a session's messages, by message."""
    rows = Feedback.objects.filter(session=session_id)
    return dict(rows.values_list("message_id", "rating"))


def review(rows: QuerySet[Feedback], by: str) -> int:
    """Mark as reviewed what is not yet; how many were."""
    with transaction.atomic():
        waiting = rows.filter(reviewed_at=None).select_for_update()
        keys = list(waiting.values_list("pk", flat=True))
        told = {"before": {"reviewed": False}, "after": {"reviewed": True}}
        for key in keys:
            audit.record(by, "feedback.reviewed", str(key), told)
        return Feedback.objects.filter(pk__in=keys).update(reviewed_at=Now(), reviewed_by=by)
