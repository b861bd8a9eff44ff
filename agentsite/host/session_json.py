"""Sessions as JSON: `spec/http-and-sse.md` §4, one place for the shape."""

from __future__ import annotations

from typing import Any

from agentsite.engine.transcript import timestamp
from agentsite.host.wire import cost_to_wire, usage_to_wire
from sessions_app.models import Run, Session
from sessions_app.projection import Conversation, to_ms


def session_to_api(row: Session) -> dict[str, Any]:
    """One session as lists show it."""
    return {
        "id": row.pk,
        "agent": row.agent,
        "scope_id": row.scope_id,
        "title": row.title,
        "tags": row.tags,
        "status": row.status,
        "message_count": row.message_count,
        "token_usage": usage_to_wire(row.metered),
        "cost": cost_to_wire(row.cost_micros if row.cost_known else None),
        "model": row.model,
        "provider": row.provider,
        **({"automation": row.automation} if row.automation else {}),
        "created_at": timestamp(to_ms(row.created_at)),
        "updated_at": timestamp(to_ms(row.updated_at)),
    }


def detail_to_api(row: Session, conversation: Conversation) -> dict[str, Any]:
    """One session with its conversation, and where its log stood then."""
    return {
        **session_to_api(row),
        **run_to_api(conversation.run),
        "metadata": row.metadata,
        "lastSeq": conversation.last_seq,
        "messages": conversation.messages,
        "pendingInteractions": conversation.pending,
    }


def run_to_api(run: Run | None) -> dict[str, Any]:
    """`run`, while one is live."""
    if run is None:
        return {}
    return {"run": {"id": run.pk, "status": run.status, "firstSeq": run.first_seq}}


def history_to_api(row: Session, first_words: str) -> dict[str, Any]:
    """The same for the reference client, which always shows a title."""
    return {
        **session_to_api(row),
        "app_id": row.agent,
        "title": row.title or shorten(first_words) or "Untitled",
    }


def shorten(text: str, limit: int = 80) -> str:
    """Text cut for a title."""
    text = text.strip()
    return text if len(text) <= limit else text[:limit] + "…"
