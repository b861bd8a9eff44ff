"""The rows of a conversation's beginning: session, run, attachments, the user's message."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
from django.db.models import Model as Row

from agentsite.engine.messages import Message as HistoryMessage
from sessions_app import log
from sessions_app.models import Attachment, Message, Run, Session

if TYPE_CHECKING:
    from sessions_app.actions import NewRun


def new_session(new: NewRun, moment: dt.datetime) -> Session:
    """A session that is running from its first moment."""
    return Session(
        id=new.session_id,
        agent=new.agent,
        scope_id=new.scope_id,
        session_type=new.session_type,
        automation=new.automation,
        tags=list(new.tags),
        title=new.title,
        status=Session.Status.RUNNING,
        provider=new.provider,
        model=new.model,
        message_count=1,
        reserved_seq=log.BLOCK,
        created_at=moment,
        updated_at=moment,
        last_message_at=moment,
    )


def new_run(new: NewRun, first_seq: int, last_seq: int, moment: dt.datetime) -> list[Row]:
    """The rows of a run that begins: itself without its lease, its attachments, its message.

    The numbers are those of its first events.
    """
    run = Run(
        id=new.run_id,
        session_id=new.session_id,
        agent=new.agent,
        scope_id=new.scope_id,
        agent_version=new.agent_version,
        agent_hash=new.agent_hash,
        owner=new.owner,
        state=msgspec.to_builtins(new.state),
        request=new.request,
        first_seq=first_seq,
        last_seq=last_seq,
        created_at=moment,
    )
    message = user_message(
        new.session_id, new.run_id, new.scope_id, new.message, new.aside, first_seq, moment
    )
    return [run, *new_attachments(new), message]


def insert_attachments(new: NewRun) -> None:
    """Store what came with the message."""
    for attachment in new_attachments(new):
        attachment.save(force_insert=True)


def new_attachments(new: NewRun) -> list[Attachment]:
    """What came with the message."""
    return [
        Attachment(
            id=attachment.id,
            session_id=new.session_id,
            scope_id=new.scope_id,
            name=attachment.name,
            media_type=attachment.media_type,
            data=attachment.data,
        )
        for attachment in new.attachments
    ]


def insert_message(
    session_id: str,
    run_id: str,
    scope_id: str,
    message: HistoryMessage,
    aside: str,
    position: int,
    moment: dt.datetime,
) -> None:
    """The user's message that starts a run."""
    row = user_message(session_id, run_id, scope_id, message, aside, position, moment)
    row.save(force_insert=True)


def user_message(
    session_id: str,
    run_id: str,
    scope_id: str,
    message: HistoryMessage,
    aside: str,
    position: int,
    moment: dt.datetime,
) -> Message:
    """The same, not yet stored."""
    return Message(
        id=message.id,
        session_id=session_id,
        run_id=run_id,
        attempt=1,
        scope_id=scope_id,
        position=position,
        role=message.role,
        parts=msgspec.to_builtins(message.parts),
        aside=aside,
        created_at=moment,
    )
