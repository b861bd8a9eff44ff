"""The conversation as clients see it, folded from events.

Law: `fold(events)` equals `messages[]`, `pendingInteractions[]` and `title` of
`GET /sessions/{id}`, which is made from rows by the same builders. `ContextMeasured`
ends an answer: its calls may follow, whatever else is said begins a new assistant
message. What a `RunResumed` discards was never said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from agentsite.engine import events as e
from agentsite.engine.messages import ImagePart, Message, TextPart
from agentsite.engine.transcript_calls import (
    Api,
    call_to_api,
    copy_call,
    find_calls,
    fold_subagent,
    settle_api_call,
    subagent_to_api,
)

CUT_REASONS = frozenset({"user_abort", "error", "budget_exceeded"})


def timestamp(at: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC."""
    return f"{_second(at // 1000)}.{at % 1000:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, tz=dt.UTC):%Y-%m-%dT%H:%M:%S}"


def message_id(run_id: str, place: int) -> str:
    """Id of a run's n-th assistant message (from 1): both sides can tell it."""
    return f"msg_{run_id.removeprefix('run_')}_{place}"


def error_id(run_id: str) -> str:
    return f"err_{run_id.removeprefix('run_')}"


def user_to_api(message: Message, at: int, run_id: str, session_id: str = "") -> Api:
    """A user's message; images by address (within their session), never inline."""
    blocks: list[Api] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            blocks.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            source: Api = {"mediaType": part.media_type}
            if part.attachment is not None:
                source["attachmentId"] = part.attachment
                source["url"] = f"/sessions/{session_id}/attachments/{part.attachment}"
            if part.url is not None:
                source["url"] = part.url
            blocks.append({"type": "image", "source": source})
    return _message(message.id, "user", "user", message.text, at, run_id, blocks)


def summary_to_api(id: str, text: str, at: int, run_id: str) -> Api:
    return _message(id, "summary", "summary", text, at, run_id, [{"type": "text", "text": text}])


def error_to_api(run_id: str, message: str, at: int) -> Api:
    blocks = [{"type": "text", "text": message}]
    return _message(error_id(run_id), "error", "assistant", message, at, run_id, blocks)


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
        self.widgets: list[tuple[str, Api]] = []
        """(call id, widget)"""
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
            [copy_call(call) for call in self.calls],
            [widget for _, widget in self.widgets],
            self.partial,
        )


class Transcript:
    """Folds events, one by one, into what a client shows."""

    def __init__(self) -> None:
        self.title = ""
        self._items: list[Api | _Turn] = []
        self._pending: dict[str, Api] = {}
        """Open questions by interaction id."""
        self._run_id = ""
        self._place = 0
        """Assistant messages of the run so far."""
        self._turn: _Turn | None = None
        """The turn in hand: the last one of the run, until another begins."""
        self._tail: list[e.Entry] = []
        """Events of the run that count, so that a new attempt can discard some."""
        self._before: tuple[str, list[Api | _Turn], dict[str, Api], str] = ("", [], {}, "")
        """What stood before them: title, messages, questions, run."""

    @property
    def messages(self) -> list[Api]:
        return [item.api() if isinstance(item, _Turn) else item for item in self._items]

    @property
    def pending(self) -> list[Api]:
        return list(self._pending.values())

    def fold(self, entry: e.Entry) -> None:
        """Take the next event of the log; what it discards is gone as if it had never come."""
        if isinstance(entry.event, e.RunResumed):
            self._discard(entry.event.discard_from)
        if isinstance(entry.event, e.Init):
            self._before = (self.title, list(self._items), dict(self._pending), self._run_id)
            self._tail = []
        self._tail.append(entry)
        self._apply(entry)

    def _discard(self, discard_from: int) -> None:
        """Undo what a lost attempt said, whatever it was, and keep what its calls have done."""
        kept = [entry for entry in self._tail if entry.seq <= discard_from]
        title, items, pending, run_id = self._before
        self.title, self._items, self._pending = title, list(items), dict(pending)
        self._run_id, self._place, self._turn = run_id, 0, None
        for entry in kept:
            self._apply(entry)
        self._tail = kept

    def _forget_widgets(self) -> None:
        """A call that has no result yet is made again, or its outcome is unknown."""
        for item in self._items:
            if isinstance(item, _Turn) and item.widgets:
                lost = {call["toolId"] for call in item.calls if call["status"] == "running"}
                item.widgets = [shown for shown in item.widgets if shown[0] not in lost]

    def _apply(self, entry: e.Entry) -> None:  # noqa: C901 - one case per event
        match entry.event:
            case e.Init(_, run_id, message):
                self._run_id, self._place, self._turn = run_id, 0, None
                self._items.append(message)
            case e.UserJoined(message):
                self._items.append(message)
            case e.MessagesRemoved(_, message_ids):
                gone = set(message_ids)
                self._items = [item for item in self._items if _id_of(item) not in gone]
            case e.TextStreamed(text):
                if self._turn is None or not self._turn.streaming:
                    self._turn = self._begin_turn(entry.at)
                    self._turn.streaming = True
                self._turn.text.append(text)
            case e.ContextMeasured():
                self._end_answer()
            case e.ToolStarted():
                if self._turn is None or self._turn.settled:
                    self._turn = self._begin_turn(entry.at)
                self._turn.streaming = False
                self._turn.calls.append(_begin_call(entry.event))
            case e.ToolRelabelled(call_id, running, completed):
                for call in self._calls(call_id):
                    call["running_label"] = running or call["running_label"]
                    call["completed_label"] = completed or call["completed_label"]
            case e.ToolEnded():
                self._settle(entry.event)
            case e.SubagentReported():
                self._report(entry.event)
            case e.WidgetShown(widget, data, call_id):
                if self._turn is not None:
                    self._turn.widgets.append((call_id, widget_to_api(widget, data)))
            case e.ConfirmationRequired() | e.UserAsked() | e.ChoiceAsked():
                self._pending[entry.event.interaction_id] = interaction_to_api(entry.event)
            case e.Approved(_, interaction_id) | e.Denied(_, interaction_id):
                self._pending.pop(interaction_id, None)
            case e.CompactionStarted():
                self._mark_partial()  # an answer that outgrew the window is asked for again
            case e.CompactionEnded(_, _, _, summary):
                if summary is not None:
                    self._items.append(summary)
            case e.Failed(message):
                self._mark_partial()
                self._items.append(error_to_api(self._run_id, message, entry.at))
            case e.Done(reason):
                if reason in CUT_REASONS:
                    self._mark_partial()
                self._turn = None
            case e.TitleChanged(title):
                self.title = title
            case e.RunResumed():
                self._forget_widgets()
            case _:
                pass  # the rest changes nothing that `GET /sessions/{id}` shows

    def _begin_turn(self, at: int) -> _Turn:
        self._place += 1
        turn = _Turn(self._run_id, self._place, at)
        self._items.append(turn)
        return turn

    def _end_answer(self) -> None:
        """An answer is whole: its calls may follow, further text belongs to the next one."""
        if self._turn is None:
            return
        if self._turn.streaming:
            self._turn.streaming = False
        else:
            self._turn = None  # this answer had no text, so its calls begin a message

    def _calls(self, call_id: str) -> Iterable[Api]:
        for item in reversed(self._items):
            if isinstance(item, _Turn):
                yield from find_calls(item.calls, call_id)

    def _settle(self, event: e.ToolEnded) -> None:
        for call in self._calls(event.id):
            settle_api_call(call, event.ok, event.result, event.duration_ms)
        self._withdraw(event.id)

    def _withdraw(self, call_id: str) -> None:
        """A call that has its result asks nothing any more."""
        for interaction_id, interaction in list(self._pending.items()):
            if interaction["callId"] == call_id:
                del self._pending[interaction_id]

    def _report(self, event: e.SubagentReported) -> None:
        """Work of a sub-agent stands inside the call that dispatched it."""
        for parent in self._calls(event.parent_tool_id):
            shown = parent.setdefault("subagent", subagent_to_api(event.agent_id, event.agent_name))
            fold_subagent(shown["toolCalls"], event.event)
        if event.event.get("type") == "tool_call_result":
            self._withdraw(event.event["id"])

    def _mark_partial(self) -> None:
        if self._turn is not None and self._turn.streaming:
            self._turn.streaming, self._turn.partial = False, True


def _begin_call(event: e.ToolStarted) -> Api:
    return call_to_api(
        event.id,
        event.name,
        event.arguments,
        event.running_label,
        event.completed_label,
        event.internal,
    )


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


def tell_time(at: int) -> str:
    """When something was said, in words for a model."""
    moment = dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC)
    return f"[Sent at {moment:%Y-%m-%d %H:%M} UTC]"
