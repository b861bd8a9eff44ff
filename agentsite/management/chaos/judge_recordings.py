"""Recordings: byte-equal to the log, whole outside void ranges, and folding to what GET shows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from agentsite.engine.transcript import Transcript
from agentsite.management.chaos.facts import Log
from agentsite.management.chaos.findings import Findings
from agentsite.management.chaos.frames import Frame, to_entry
from agentsite.management.chaos.recording import Recording

LABELS = ("running_label", "completed_label", "internal")


def judge_recording(
    recording: Recording, log: Log, detail: dict[str, Any], found: Findings
) -> None:
    """Compare one client's frames with the log and with the session as it is shown now."""
    for _ in range(recording.stalls):
        found.fault("stalled streams", f"a {recording.kind} of {recording.session_id}")
    _judge_order(recording, found)
    _judge_content(recording, log, found)
    if recording.frames or recording.kind == "viewer":
        _judge_fold(recording, log, detail, found)


def _name(recording: Recording) -> str:
    return f"a {recording.kind} of {recording.session_id} ({recording.connections} connections)"


def _judge_order(recording: Recording, found: Findings) -> None:
    for before, frame in pairwise(recording.frames):
        if frame.seq <= before.seq:
            found.fault("duplicates", f"{_name(recording)}: {frame.seq} behind {before.seq}")


def _judge_content(recording: Recording, log: Log, found: Findings) -> None:
    got = {frame.seq: frame for frame in recording.frames}
    for frame in recording.frames:
        line = log.by_seq.get(frame.seq)
        if line is None:
            if not log.is_void(frame.seq):
                found.fault("gaps", f"{_name(recording)}: {frame.seq} is not in the log")
        elif line.raw != frame.raw and not log.is_void(frame.seq):
            found.fault("gaps", f"{_name(recording)}: {frame.raw!r} is {line.raw!r} in the log")
    first = recording.start or 0
    missing = [
        line.seq
        for line in log.lines
        if first < line.seq <= recording.last and line.seq not in got and not log.is_void(line.seq)
    ]
    if missing:
        found.fault("gaps", f"{_name(recording)}: {missing[:10]} of {len(missing)} are missing")


def _judge_fold(recording: Recording, log: Log, detail: dict[str, Any], found: Findings) -> None:
    """Before and behind what the client saw the log stands in."""
    first = recording.start or 0
    before = [
        Frame(line.seq, _event(line.raw), line.raw) for line in log.lines if line.seq <= first
    ]
    behind = [
        Frame(line.seq, _event(line.raw), line.raw)
        for line in log.lines
        if line.seq > recording.last
    ]
    transcript = Transcript()
    for frame in (*before, *recording.frames, *behind):
        transcript.fold(to_entry(frame))
    folded = {
        "title": transcript.title,
        "messages": [_plain(message) for message in transcript.messages],
        "pendingInteractions": transcript.pending,
    }
    shown = {
        "title": detail.get("title"),
        "messages": [_plain(message) for message in detail.get("messages", [])],
        "pendingInteractions": detail.get("pendingInteractions"),
    }
    for key, value in folded.items():
        if value != shown[key]:
            found.fault(
                "fold differences", f"{_name(recording)}: {key}: {_differ(value, shown[key])}"
            )


def _event(raw: bytes) -> str:
    return raw.split(b"\n", 2)[1][7:].decode()


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what the wire does not carry to a transcript."""
    calls = [
        {key: value for key, value in call.items() if key not in LABELS}
        for call in message.get("toolCalls", [])
    ]
    return {**message, "toolCalls": calls}


def _differ(folded: Any, shown: Any) -> str:
    if isinstance(folded, list) and isinstance(shown, list):
        for place, (one, other) in enumerate(zip(folded, shown, strict=False)):
            if one != other:
                return f"[{place}] {one} is shown as {other}"
        return f"{len(folded)} are shown as {len(shown)}"
    return f"{folded!r} is shown as {shown!r}"
