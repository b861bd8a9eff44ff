"""What a client makes of a stream must be what the session shows."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec

from agentsite.engine.transcript import fold
from tests.lab import Lab
from tests.wire_client import Client, Frame


async def assert_folds(client: Client, lab: Lab, session_id: str) -> Any:
    """The committed log, folded, equals `GET /sessions/{id}`, now; returns the latter."""
    detail = await client.detail(session_id)
    entries = [entry for entry in lab.entries(session_id) if entry.seq <= detail["lastSeq"]]
    folded = fold(entries)
    assert detail["title"] == folded.title
    messages = json.loads(msgspec.json.encode(folded.messages))
    for shown, expected in zip(detail["messages"], messages, strict=True):
        assert shown == expected
    assert detail["pendingInteractions"] == json.loads(msgspec.json.encode(folded.pending))
    return detail


def drop_discarded(frames: list[Frame]) -> list[Frame]:
    """The frames that still count after every `run_resumed` among them."""
    kept: list[Frame] = []
    for frame in frames:
        if frame.event == "run_resumed":
            kept = [each for each in kept if (each.id or 0) <= frame.data["discardFrom"]]
        elif frame.id is not None:
            kept.append(frame)
    return kept


def text_of(frames: list[Frame]) -> str:
    """What is said in the frames that count."""
    said = (frame for frame in drop_discarded(frames) if frame.event == "text_delta")
    return "".join(frame.data["delta"] for frame in said)


def assert_numbered(frames: list[Frame]) -> None:
    """Numbers rise by one, but for the gap in front of a `run_resumed`."""
    numbered = [frame for frame in frames if frame.id is not None]
    for before, frame in pairwise(numbered):
        assert before.id is not None and frame.id is not None
        if frame.event == "run_resumed":
            assert frame.id > before.id
            assert frame.data["discardFrom"] <= before.id
        else:
            assert frame.id == before.id + 1, (before.id, frame.id, frame.event)
