"""Rows to history: what the model is shown of a session.

Law: results stand in call order behind the message that asked for them; a summary
stands for every position it covers; nothing is ever deleted from the rows for it.
"""

from __future__ import annotations

import msgspec

from agentsite.engine.messages import (
    ImagePart,
    Message as HistoryMessage,
    Part,
    ResultStatus,
    TextPart,
    ToolResultPart,
)
from sessions_app.models import LateResult, Message, ToolCall

_RESULTS: frozenset[str] = frozenset({"ok", "error", "denied", "interrupted", "expired"})


class Remembered(msgspec.Struct, frozen=True):
    """One item of history and where it stands in the log."""

    position: int
    message: HistoryMessage


def load_history(session_id: str) -> tuple[Remembered, ...]:
    """The history as the model may see it, oldest first; calls without a result have none here."""
    rows = list(Message.objects.of_session(session_id))
    summary = next((row for row in reversed(rows) if row.role == "summary"), None)
    covered = summary.covers_until or 0 if summary is not None else 0
    seen = [row for row in rows if row.position > covered and row.role != "summary"]
    results = _results_by_message([row.pk for row in seen if row.role == "assistant"])
    history = [_remember(summary)] if summary is not None else []
    for row in seen:
        history.append(_remember(row))
        if row.pk in results:
            tool = HistoryMessage(role="tool", parts=results[row.pk])
            history.append(Remembered(row.position, tool))
    return tuple(history)


def _remember(row: Message) -> Remembered:
    parts = msgspec.convert(row.parts, tuple[Part, ...])
    if row.aside:
        parts = (*parts, TextPart(row.aside))
    message = HistoryMessage(role=row.role, parts=parts, id=row.pk)  # type: ignore[arg-type]  # the column holds roles only
    return Remembered(row.position, message)


def _results_by_message(message_ids: list[str]) -> dict[str, tuple[Part, ...]]:
    calls = ToolCall.objects.filter(message_id__in=message_ids, status__in=_RESULTS)
    found: dict[str, list[Part]] = {}
    for call in calls.order_by("message_id", "position"):
        found.setdefault(str(call.message_id), []).append(result_part(call))
    return {message_id: tuple(parts) for message_id, parts in found.items()}


def result_part(call: ToolCall) -> ToolResultPart:
    """The whole result of a settled call."""
    content = msgspec.convert(call.result or [], tuple[TextPart | ImagePart, ...])
    status: ResultStatus = call.status  # type: ignore[assignment]  # settled: one of the five
    return ToolResultPart(call.pk, call.name, status, content)


def read_result_text(session_id: str, call_id: str) -> str | None:
    """The whole text of a settled call of this session, what came late before what it was told."""
    call = ToolCall.objects.filter(pk=call_id, session_id=session_id, status__in=_RESULTS).first()
    if call is None:
        return None
    late = LateResult.objects.filter(pk=call_id).first()
    if late is not None:
        return str(late.text)
    content = result_part(call).content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))
