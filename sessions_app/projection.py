"""A session's conversation from its rows, as `GET /sessions/{id}` shows it.

Law: equals the fold of the session's events, made by the same builders; only
results are whole here, where events cut them. A live run is folded from the log.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import msgspec
from django.db.models import Prefetch

from agentsite.engine.events import Entry
from agentsite.engine.messages import Message as HistoryMessage, Part
from agentsite.engine.transcript import (
    assistant_to_api,
    error_to_api,
    fold,
    summary_to_api,
    user_to_api,
    widget_to_api,
)
from agentsite.engine.transcript_calls import (
    Api,
    call_to_api,
    settle_api_call,
    subagent_to_api,
)
from sessions_app import log
from sessions_app.models import EventBatch, Message, Run, Session, Subagent, ToolCall

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SETTLED = frozenset(("ok", "error", "denied", "interrupted", "expired"))


class Conversation(msgspec.Struct, frozen=True):
    """What a session's page starts from."""

    messages: list[Api]
    pending: list[Api]
    """Open questions to people."""
    run: Run | None
    """The live run."""
    last_seq: int
    """Number of the newest event that all this includes."""


def project(session: Session) -> Conversation:
    """The conversation up to now. Inside a `snapshot`, so that its parts agree."""
    run = session.runs.live().first()
    last_seq = newest_seq(session.pk) or session.reserved_seq
    ended = project_ended_runs(session.pk)
    if run is None:
        return Conversation(ended, [], None, last_seq)
    live = fold(read_log(session.pk, run.first_seq - 1))
    return Conversation(ended + live.messages, live.pending, run, last_seq)


def project_ended_runs(session_id: str) -> list[Api]:
    """Messages of all runs that are over, in order."""
    rows = list(Message.objects.of_session(session_id).filter(run__status=Run.Status.DONE))
    calls = _calls_by_message(session_id)
    subagents = _subagents_by_call(session_id)
    places: dict[str, int] = defaultdict(int)
    placed = list(_failures(session_id))
    for row in rows:
        if row.role == "assistant":
            if not _is_visible(row):
                continue
            places[row.run_id] += 1
            own = calls.get(row.pk, [])
            shown = _project_answer(row, places[row.run_id], own, subagents)
        elif row.role == "summary":
            shown = summary_to_api(row.pk, _text(row.parts), to_ms(row.created_at), row.run_id)
        else:
            shown = _project_user(row)
        placed.append((row.position, shown))
    return [shown for _, shown in sorted(placed, key=itemgetter(0))]


def _is_visible(row: Message) -> bool:
    """Reasoning alone tells a client nothing."""
    return any(
        part["kind"] == "tool_call" or (part["kind"] == "text" and part["text"])
        for part in row.parts
    )


def _project_user(row: Message) -> Api:
    parts = msgspec.convert(row.parts, tuple[Part, ...])
    message = HistoryMessage("user", parts, row.pk)
    return user_to_api(message, to_ms(row.created_at), row.run_id, row.session_id)


def _project_answer(
    row: Message, place: int, calls: list[ToolCall], subagents: dict[str, Subagent]
) -> Api:
    widgets = sorted(
        (widget for call in calls for widget in call.widgets), key=lambda widget: widget["seq"]
    )
    return assistant_to_api(
        row.run_id,
        place,
        to_ms(row.created_at),
        _text(row.parts),
        [_project_call(call, subagents) for call in calls],
        [widget_to_api(widget["widgetType"], widget["data"]) for widget in widgets],
        row.partial,
    )


def _project_call(call: ToolCall, subagents: dict[str, Subagent]) -> Api:
    shown = call_to_api(
        call.pk,
        call.name,
        call.arguments,
        call.running_label or None,
        call.completed_label or None,
        call.internal,
    )
    if call.status in _SETTLED:
        result = "\n".join(_texts(call.result or []))
        settle_api_call(shown, call.status == "ok", result, call.duration_ms or 0)
    subagent = subagents.get(call.pk)
    if subagent is not None:
        told = subagent_to_api(subagent.pk, subagent.name)
        told["toolCalls"] = [_project_call(own, subagents) for own in subagent.calls.all()]
        shown["subagent"] = told
    return shown


def _subagents_by_call(session_id: str) -> dict[str, Subagent]:
    """Those of runs that are over, their calls with them."""
    rows = Subagent.objects.filter(session_id=session_id, run__status=Run.Status.DONE)
    calls = Prefetch("calls", ToolCall.objects.order_by("position"))
    found = rows.only("id", "call_id", "name").prefetch_related(calls)
    return {row.call_id: row for row in found}


def _calls_by_message(session_id: str) -> dict[str, list[ToolCall]]:
    found: dict[str, list[ToolCall]] = defaultdict(list)
    rows = ToolCall.objects.filter(session_id=session_id, run__status=Run.Status.DONE)
    for call in rows.exclude(message=None).order_by("message_id", "position"):
        found[str(call.message_id)].append(call)
    return found


def _failures(session_id: str) -> Iterable[tuple[int, Api]]:
    """What ended runs badly, each behind everything else of its run."""
    runs = Run.objects.filter(session_id=session_id, status=Run.Status.DONE)
    for run in runs.exclude(error=None).only("id", "error", "last_seq"):
        yield run.last_seq, error_to_api(run.pk, run.error["message"], run.error["at"])


def _texts(parts: list[dict[str, Any]]) -> list[str]:
    return [part["text"] for part in parts if part["kind"] == "text"]


def _text(parts: list[dict[str, Any]]) -> str:
    return "".join(_texts(parts))


def to_ms(moment: dt.datetime) -> int:
    """Milliseconds since the epoch."""
    return (moment - EPOCH) // dt.timedelta(milliseconds=1)


def newest_seq(session_id: str) -> int | None:
    """Number of a session's last committed event; None when it has none (any more)."""
    rows = EventBatch.objects.filter(session_id=session_id).order_by("-first_seq")
    found: int | None = rows.values_list("last_seq", flat=True).first()
    return found


def read_log(session_id: str, after: int, at_most: int | None = None) -> list[Entry]:
    """Committed events above `after`, all of them or somewhat more than `at_most`."""
    entries: list[Entry] = []
    while (at_most is None or len(entries) < at_most) and (batch := log.read(session_id, after)):
        entries += batch
        after = batch[-1].seq
    return entries
