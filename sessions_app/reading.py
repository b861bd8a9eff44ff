"""Sessions as callers list and change them, always within one partition.

Law: foreign and unknown ids look the same (None, or False). Pages are keysets.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from sessions_app import news
from sessions_app.actions import SessionBusy
from sessions_app.models import Attachment, Message, Session
from sessions_app.querysets import SessionQuerySet

HISTORY_LIMIT = 500


class BadCursor(ValueError):
    """Not a cursor that this server has made."""


class SessionExpired(Exception):
    """Only the bare facts of the session are left; they do not change any more."""


def find_session(session_id: str, scope_id: str) -> Session | None:
    """The session, if it is this partition's."""
    found: Session | None = Session.objects.for_scope(scope_id).filter(pk=session_id).first()
    return found


def list_sessions(
    scope_id: str, query: dict[str, Any], agents: Sequence[str] = ()
) -> tuple[list[Session], str | None]:
    """A page, newest first, and the cursor of the next one. Raises `BadCursor`.

    `agents`: whose sessions; empty: all.
    """
    rows = Session.objects.for_scope(scope_id).spoken()
    if agents:
        rows = rows.filter(agent__in=agents)
    for name in ("status", "automation"):
        if query.get(name):
            rows = rows.filter(**{name: query[name]})
    if query.get("tag"):
        rows = rows.filter(tags__contains=[query["tag"]])
    if query.get("q"):
        rows = rows.filter(title__icontains=query["q"])
    cursor, limit = query.get("cursor"), query["limit"]
    found = rows.page(read_cursor(cursor) if cursor else None, limit)
    page = found[:limit]
    return page, make_cursor(page[-1]) if len(found) > limit else None


def list_history(
    scope_id: str, tags: Sequence[str], agents: Sequence[str] = ()
) -> list[tuple[Session, str]]:
    """The newest sessions, with the first words of those that have no title."""
    rows: SessionQuerySet = Session.objects.for_scope(scope_id).spoken()
    if agents:
        rows = rows.filter(agent__in=agents)
    if tags:
        rows = rows.filter(tags__has_any_keys=list(tags))
    page = rows.page(None, HISTORY_LIMIT)[:HISTORY_LIMIT]
    words = first_words([row.pk for row in page if not row.title])
    return [(row, words.get(row.pk, "")) for row in page]


def first_words(session_ids: list[str]) -> dict[str, str]:
    """The text of each session's first message."""
    rows = Message.objects.filter(session_id__in=session_ids, role="user")
    firsts = rows.order_by("session_id", "position").distinct("session_id")
    return {
        session_id: next((part["text"] for part in parts if part["kind"] == "text"), "")
        for session_id, parts in firsts.values_list("session_id", "parts")
    }


def first_said(run_ids: list[str]) -> dict[str, str]:
    """The text of the message that started each run; of an operator's page, so of any scope."""
    rows = Message.objects.filter(run_id__in=run_ids, role="user")
    firsts = rows.order_by("run_id", "position").distinct("run_id")
    return {
        run_id: next((part["text"] for part in parts if part["kind"] == "text"), "")
        for run_id, parts in firsts.values_list("run_id", "parts")
    }


def is_scope(scope_id: str) -> bool:
    """Whether any session is of a scope of this name. For operators."""
    return Session.objects.filter(scope_id=scope_id).exists()


def make_cursor(row: Session) -> str:
    """Where the page behind this row begins."""
    return base64.urlsafe_b64encode(f"{row.updated_at.isoformat()}|{row.pk}".encode()).decode()


def read_cursor(cursor: str) -> tuple[dt.datetime, str]:
    """Time and id of the last row that was seen. Raises `BadCursor`."""
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        moment, row_id = text.split("|", 1)
        at = dt.datetime.fromisoformat(moment)
    except (binascii.Error, ValueError) as error:
        raise BadCursor(cursor) from error
    if at.tzinfo is None or "\x00" in row_id:
        raise BadCursor(cursor)
    return at, row_id


def change_session(
    session_id: str,
    scope_id: str,
    *,
    tags: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    archived: bool | None = None,
) -> bool:
    """Change what is given; False when there is no such session.

    Raises `SessionExpired`, or `SessionBusy` for the archiving of one that works.
    """
    with transaction.atomic():
        rows = Session.objects.for_scope(scope_id).filter(pk=session_id)
        session = rows.select_for_update(no_key=True).first()
        if session is None:
            return False
        if session.status == Session.Status.EXPIRED:
            raise SessionExpired(session_id)
        changes: dict[str, Any] = _archive(session, archived)
        if tags is not None:
            changes["tags"] = list(dict.fromkeys(tags))
        if metadata is not None:
            changes["metadata"] = metadata
        if changes:
            rows.update(**changes, updated_at=Now())
            news.tell_statuses([session_id])
    return True


def _archive(session: Session, archived: bool | None) -> dict[str, Any]:
    is_archived = session.status == Session.Status.ARCHIVED
    if archived is None or archived == is_archived:
        return {}
    if not archived:  # it ages from now on
        return {"status": Session.Status.ACTIVE, "last_message_at": Now()}
    if session.status in (Session.Status.RUNNING, Session.Status.WAITING):
        raise SessionBusy(session.pk)
    return {"status": Session.Status.ARCHIVED}


def find_attachment(session_id: str, scope_id: str, attachment_id: str) -> Attachment | None:
    """An image of a session, if it is this partition's."""
    rows = Attachment.objects.filter(
        pk=attachment_id, session_id=session_id, scope_id=scope_id, session__scope_id=scope_id
    ).exclude(session__status=Session.Status.EXPIRED)
    found: Attachment | None = rows.first()
    return found
