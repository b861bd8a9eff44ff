"""Frames as a client receives them, and the events that they stand for."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from agentsite.engine import events as e
from agentsite.engine.deltas import Usage

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Frame(msgspec.Struct, frozen=True):
    """One whole frame. `seq` is 0 for one that has no number."""

    seq: int
    name: str
    raw: bytes

    @property
    def data(self) -> dict[str, Any]:
        """Its JSON."""
        line = self.raw.rstrip(b"\n").rsplit(b"\n", 1)[-1]
        found: dict[str, Any] = msgspec.json.decode(line.removeprefix(b"data: "))
        return found


class Splitter:
    """Cuts a byte stream into frames; the rest of a cut one is forgotten with the stream."""

    def __init__(self) -> None:
        self._rest = b""
        self.comments = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that are whole now. Raises ValueError for one of another shape."""
        *whole, self._rest = (self._rest + chunk).split(b"\n\n")
        frames = []
        for raw in whole:
            if raw.startswith(b":"):
                self.comments += 1
            else:
                frames.append(_read(raw + b"\n\n"))
        return frames


def _read(raw: bytes) -> Frame:
    lines = raw[:-2].split(b"\n")
    seq = 0
    if lines[0].startswith(b"id: "):
        seq = int(lines.pop(0)[4:])
    if len(lines) != 2 or lines[0][:7] != b"event: " or lines[1][:6] != b"data: ":
        raise ValueError(f"not a frame: {raw[:200]!r}")
    return Frame(seq, lines[0][7:].decode(), raw)


def to_entry(frame: Frame) -> e.Entry:
    """The log's entry as far as a transcript needs it."""
    data = frame.data
    at = dt.datetime.fromisoformat(data["timestamp"])
    return e.Entry(frame.seq, (at - EPOCH) // dt.timedelta(milliseconds=1), _to_event(frame, data))


def _to_event(frame: Frame, data: dict[str, Any]) -> e.AnyEvent:  # noqa: C901 - one case per name
    match frame.name:
        case "init":
            return e.Init(data["sessionId"], data["runId"], data["message"])
        case "user_message":
            return e.UserJoined(data["message"])
        case "messages_removed":
            return e.MessagesRemoved(data["runId"], tuple(data["messageIds"]))
        case "text_delta":
            return e.TextStreamed(data["delta"])
        case "context_usage":
            return e.ContextMeasured(data["input_tokens"], data["window"], data["used_pct"])
        case "tool_call_start":
            return e.ToolStarted(data["id"], data["name"], data["args"])
        case "tool_call_result":
            ok = data["status"] == "success"
            return e.ToolEnded(data["id"], data["name"], ok, data["result"], data["duration_ms"])
        case "subagent_event":
            return e.SubagentReported(
                data["agentId"], data["agent_name"], data["parent_tool_id"], data["event"]
            )
        case "confirmation_required" | "ask_user" | "ask_choice":
            return _to_question(frame.name, data)
        case "approved":
            return e.Approved(data["action"], data["interactionId"], data["preview_id"])
        case "denied":
            return e.Denied(data["action"], data["interactionId"], data["preview_id"])
        case "compaction_start":
            return e.CompactionStarted(data["estimated_tokens"], data["threshold"])
        case "compaction_end":
            return e.CompactionEnded(
                data["tokens_before"],
                data["tokens_after"],
                data["compaction_tokens"],
                data.get("message"),
            )
        case "title_changed":
            return e.TitleChanged(data["title"])
        case "run_resumed":
            return e.RunResumed(data["attempt"], data["discardFrom"])
        case "error":
            return e.Failed(data["message"], data["code"], data["retryable"])
        case "done":
            return e.Done(data["reason"], Usage(), None, data["runId"])
        case _:
            return e.Noticed(frame.name)


def _to_question(name: str, data: dict[str, Any]) -> e.AnyEvent:
    ids = (data["interactionId"], data["tool_id"])
    if name == "ask_user":
        return e.UserAsked(*ids, tuple(data["questions"]))
    if name == "ask_choice":
        return e.ChoiceAsked(*ids, data["question"], tuple(data["options"]), data["multi"])
    return e.ConfirmationRequired(*ids, data["action"], data["details"])
