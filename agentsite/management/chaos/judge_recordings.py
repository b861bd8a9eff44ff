"""Recordings: byte-equal to the log, whole outside void ranges, and folding to what GET shows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from agentsite.engine.transcript import Transcript
from agentsite.host.calls import CUT_MARK, SHOWN_CHARS
from agentsite.management.chaos.facts import Log
from agentsite.management.chaos.findings import Findings
from agentsite.management.chaos.frames import Frame, to_entry
from agentsite.management.chaos.recording import Recording

LABELS = ("running_label", "completed_label", "internal")


def judge_recording(
    recording: Recording, log: Log, detail: dict[str, Any], found: Findings
) -> None:
    """Compare one client's frames with the log and with the session as it is shown now."""
    for stall in recording.stalls:
        found.fault("stalled streams", f"a {recording.kind} of {recording.session_id}: {stall}")
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
    return {**message, "toolCalls": [_plain_call(call) for call in message.get("toolCalls", [])]}


def _plain_call(call: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in call.items() if key not in LABELS}
    if isinstance(plain.get("result"), str):  # whole in the session, cut in its event
        plain["result"] = plain["result"].removesuffix(CUT_MARK)[:SHOWN_CHARS]
    work = plain.get("subagent")
    if isinstance(work, dict):
        plain["subagent"] = {**work, "toolCalls": [_plain_call(c) for c in work["toolCalls"]]}
    return plain


def _differ(folded: Any, shown: Any) -> str:
    """Where two values first differ, as a path, and what stands there."""
    if isinstance(folded, dict) and isinstance(shown, dict) and folded.keys() == shown.keys():
        key = next(key for key in folded if folded[key] != shown[key])
        return f".{key}{_differ(folded[key], shown[key])}"
    if isinstance(folded, list) and isinstance(shown, list) and len(folded) == len(shown):
        place = next(at for at, one in enumerate(folded) if one != shown[at])
        return f"[{place}]{_differ(folded[place], shown[place])}"
    if isinstance(folded, str) and isinstance(shown, str):
        pairs = enumerate(zip(folded, shown, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), len(shown))
        return f" from character {at}: {folded[at : at + 80]!r} is shown as {shown[at : at + 80]!r}"
    return f": {str(folded)[:200]} is shown as {str(shown)[:200]}"
