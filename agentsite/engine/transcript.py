"""The conversation as clients see it, folded from events.

Law: `fold(events)` equals `messages[]`, `pendingInteractions[]` and `title` of
`GET /sessions/{id}`, which is made from rows by the same builders. A new assistant
message begins with the first text or call after all calls of the one before have
their results. What a `RunResumed` discards was never said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from agentsite.engine import events as e
from agentsite.engine.messages import ImagePart, Message, TextPart

Api = dict[str, Any]

CUT_REASONS = frozenset({"user_abort", "error", "budget_exceeded"})


def timestamp(at: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC."""
    moment = dt.datetime.fromtimestamp(at // 1000, tz=dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def message_id(run_id: str, place: int) -> str:
    """Id of a run's n-th assistant message (from 1): both sides can tell it."""
    return f"msg_{run_id.removeprefix('run_')}_{place}"


def error_id(run_id: str) -> str:
    return f"err_{run_id.removeprefix('run_')}"


def user_to_api(message: Message, at: int, run_id: str) -> Api:
    """A user's message; images by address, never inline."""
    blocks: list[Api] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            blocks.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            source: Api = {"mediaType": part.media_type}
            if part.attachment is not None:
                source["attachmentId"] = part.attachment
            if part.url is not None:
                source["url"] = part.url
            blocks.append({"type": "image", "source": source})
    return _message(message.id, "user", "user", message.text, at, run_id, blocks)


def summary_to_api(id: str, text: str, at: int, run_id: str) -> Api:
    return _message(id, "summary", "summary", text, at, run_id, [{"type": "text", "text": text}])


def error_to_api(run_id: str, message: str, at: int) -> Api:
    blocks = [{"type": "text", "text": message}]
    return _message(error_id(run_id), "error", "assistant", message, at, run_id, blocks)


def call_to_api(
    id: str, name: str, arguments: Any, running: str | None, completed: str | None, internal: bool
) -> Api:
    """A call that has no result yet."""
    return {
        "toolId": id,
        "toolName": name,
        "args": arguments,
        "parameters": arguments,
        "status": "running",
        "result": None,
        "error": None,
        "duration_ms": None,
        "running_label": running,
        "completed_label": completed,
        "internal": internal,
    }


def settle_api_call(call: Api, ok: bool, result: str, duration_ms: int) -> None:
    call["status"] = "success" if ok else "error"
    call["result"] = result
    call["error"] = None if ok else result
    call["duration_ms"] = duration_ms


def assistant_to_api(
    run_id: str,
    place: int,
    at: int,
    text: str,
    calls: list[Api],
    widgets: list[Api],
    partial: bool = False,
) -> Api:
    """One model turn: its text, its calls, and the widgets that the calls showed."""
    blocks: list[Api] = [{"type": "text", "text": text}] if text else []
    if calls:
        blocks.append({"type": "tool_calls", "callIds": [call["toolId"] for call in calls]})
    blocks += [{"type": "widget", **widget} for widget in widgets]
    made = _message(
        message_id(run_id, place), "assistant_text", "assistant", text, at, run_id, blocks
    )
    made["toolCalls"] = calls
    made["widgets"] = widgets
    if partial:
        made["partial"] = True
    return made


def widget_to_api(widget: str, data: Any) -> Api:
    return {"widgetType": widget, "data": data}


def _message(
    id: str, type: str, role: str, text: str, at: int, run_id: str, blocks: list[Api]
) -> Api:
    return {
        "id": id,
        "type": type,
        "role": role,
        "text": text,
        "timestamp": timestamp(at),
        "runId": run_id,
        "toolCalls": [],
        "contentBlocks": blocks,
        "widgets": [],
    }


class _Turn:
    """An assistant message while its events come in."""

    def __init__(self, run_id: str, place: int, at: int) -> None:
        self.run_id, self.place, self.at = run_id, place, at
        self.text: list[str] = []
        self.calls: list[Api] = []
        self.widgets: list[Api] = []
        self.streaming = False
        self.partial = False

    @property
    def settled(self) -> bool:
        return bool(self.calls) and all(call["status"] != "running" for call in self.calls)

    def api(self) -> Api:
        return assistant_to_api(
            self.run_id,
            self.place,
            self.at,
            "".join(self.text),
            self.calls,
            self.widgets,
            self.partial,
        )


class Transcript:
    """Folds events, one by one, into what a client shows."""

    def __init__(self) -> None:
        self.title = ""
        self._items: list[tuple[int, str, Api | _Turn]] = []
        """(number, run id, message) in order."""
        self._pending: dict[str, tuple[int, Api]] = {}
        self._run_id = ""
        self._places: dict[str, int] = {}
        self._failed = False

    @property
    def messages(self) -> list[Api]:
        return [item.api() if isinstance(item, _Turn) else item for _, _, item in self._items]

    @property
    def pending(self) -> list[Api]:
        return [interaction for _, interaction in self._pending.values()]

    def fold(self, entry: e.Entry) -> None:  # noqa: C901 - one case per event
        match entry.event:
            case e.Init(_, run_id, message):
                self._run_id, self._failed = run_id, False
                self._items.append((entry.seq, run_id, message))
            case e.UserJoined(message):
                self._items.append((entry.seq, self._run_id, message))
            case e.MessagesRemoved(_, message_ids):
                gone = set(message_ids)
                self._items = [item for item in self._items if _id_of(item[2]) not in gone]
            case e.TextStreamed(text):
                turn = self._turn(entry)
                turn.text.append(text)
                turn.streaming = True
            case e.ContextMeasured():
                if (open_turn := self._last_turn()) is not None:
                    open_turn.streaming = False
            case e.ToolStarted():
                self._turn(entry).calls.append(
                    call_to_api(
                        entry.event.id,
                        entry.event.name,
                        entry.event.arguments,
                        entry.event.running_label,
                        entry.event.completed_label,
                        entry.event.internal,
                    )
                )
            case e.ToolRelabelled(call_id, running, completed):
                self._relabel(call_id, running, completed)
            case e.ToolEnded():
                self._settle(entry.event)
            case e.WidgetShown(widget, data):
                if (turn_ := self._last_turn()) is not None:
                    turn_.widgets.append(widget_to_api(widget, data))
            case e.ConfirmationRequired() | e.UserAsked() | e.ChoiceAsked():
                asked = entry.event
                self._pending[asked.interaction_id] = (entry.seq, interaction_to_api(asked))
            case e.Approved(_, interaction_id) | e.Denied(_, interaction_id):
                self._pending.pop(interaction_id, None)
            case e.CompactionEnded(_, _, _, summary):
                if summary is not None:
                    self._items.append((entry.seq, self._run_id, summary))
            case e.Failed(message):
                self._failed = True
                self._mark_partial()
                failed = error_to_api(self._run_id, message, entry.at)
                self._items.append((entry.seq, self._run_id, failed))
            case e.RunResumed(_, discard_from):
                self._discard(discard_from, entry.seq)
            case e.Done(reason):
                if reason in CUT_REASONS:
                    self._mark_partial()
            case e.TitleChanged(title):
                self.title = title
            case _:
                pass  # the rest changes nothing that `GET /sessions/{id}` shows

    def _last_turn(self) -> _Turn | None:
        for _, run_id, item in reversed(self._items):
            if run_id != self._run_id:
                return None
            if isinstance(item, _Turn):
                return item
        return None

    def _turn(self, entry: e.Entry) -> _Turn:
        last = self._items[-1][2] if self._items else None
        if isinstance(last, _Turn) and last.run_id == self._run_id and not last.settled:
            return last
        place = self._places.get(self._run_id, 0) + 1
        self._places[self._run_id] = place
        turn = _Turn(self._run_id, place, entry.at)
        self._items.append((entry.seq, self._run_id, turn))
        return turn

    def _calls(self, call_id: str) -> Iterable[Api]:
        for _, _, item in reversed(self._items):
            if isinstance(item, _Turn):
                yield from (call for call in item.calls if call["toolId"] == call_id)

    def _relabel(self, call_id: str, running: str | None, completed: str | None) -> None:
        for call in self._calls(call_id):
            call["running_label"] = running or call["running_label"]
            call["completed_label"] = completed or call["completed_label"]

    def _settle(self, event: e.ToolEnded) -> None:
        for call in self._calls(event.id):
            settle_api_call(call, event.ok, event.result, event.duration_ms)
        for interaction_id, (_, interaction) in list(self._pending.items()):
            if interaction["callId"] == event.id:
                del self._pending[interaction_id]

    def _mark_partial(self) -> None:
        turn = self._last_turn()
        if turn is not None and turn.streaming:
            turn.streaming, turn.partial = False, True

    def _discard(self, discard_from: int, until: int) -> None:
        kept = []
        for seq, run_id, item in self._items:
            if discard_from < seq < until and run_id == self._run_id:
                if isinstance(item, _Turn):
                    self._places[run_id] = min(self._places[run_id], item.place - 1)
                continue
            kept.append((seq, run_id, item))
        self._items = kept
        self._pending = {
            key: value
            for key, value in self._pending.items()
            if not discard_from < value[0] < until
        }


def _id_of(item: Api | _Turn) -> str:
    return message_id(item.run_id, item.place) if isinstance(item, _Turn) else str(item["id"])


def interaction_to_api(event: e.ConfirmationRequired | e.UserAsked | e.ChoiceAsked) -> Api:
    """An open question as `pendingInteractions[]` lists it."""
    shown: Api = {"interactionId": event.interaction_id, "callId": event.call_id}
    match event:
        case e.ConfirmationRequired():
            return {
                **shown,
                "kind": "confirmation",
                "action": event.action,
                "details": event.details,
            }
        case e.UserAsked():
            return {**shown, "kind": "ask_user", "questions": list(event.questions)}
        case e.ChoiceAsked():
            return {
                **shown,
                "kind": "ask_choice",
                "question": event.question,
                "options": list(event.options),
                "multi": event.multi,
            }


def fold(entries: Iterable[e.Entry]) -> Transcript:
    transcript = Transcript()
    for entry in entries:
        transcript.fold(entry)
    return transcript
