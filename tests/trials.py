"""The agent `trials`: one scripted conversation for each thing a run can do.

Law: the first word of a message names the reply; replies have no pauses, so that what a
test waits for is an event and never the clock.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG = {
    "name": "trials",
    "version": "1.0.0",
    "agent": {"maxTurns": 6, "maxToolRepeats": 3, "toolTimeout": 60},
}
TOOLS: dict[str, tuple[dict[str, Any], str]] = {
    "count": (
        {"description": "Counts.", "runningLabel": "Counting to {{to}}", "readOnly": True},
        "async def handle(params, ctx):\n"
        "    ctx.progress({'at': 1})\n"
        "    ctx.log('counted')\n"
        "    return {'counted': params.get('to', 0)}\n",
    ),
    "fail": (
        {"description": "Fails."},
        "def handle(params, ctx):\n    raise ValueError('no')\n",
    ),
    "shout": (
        {"description": "Says a lot."},
        "def handle(params, ctx):\n    return 'many words ' * 6000\n",
    ),
    "relabel": (
        {"description": "Changes its label.", "runningLabel": "Starting"},
        "def handle(params, ctx):\n"
        "    ctx.set_label(running='Half way', completed='Through')\n"
        "    return 'ok'\n",
    ),
    "hang": (
        {"description": "Never ends by itself.", "internal": True},
        "import asyncio\n\n"
        "async def handle(params, ctx):\n"
        "    ctx.log('hanging')\n"
        "    await asyncio.Event().wait()\n",
    ),
    "pay": (
        {"description": "Pays.", "confirm": True},
        "def handle(params, ctx):\n    return 'paid'\n",
    ),
}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A scripted tool call."""
    return {"name": name, "arguments": arguments}


def show(widget: str, **data: Any) -> dict[str, Any]:
    return call("present", widget=widget, data=data)


TABLE = {"columns": ["a", "b"], "rows": [["1", "2"]], "title": "T"}
REPLIES: list[dict[str, Any]] = [
    {"when": {"user": "^USER: "}, "text": "A made title"},
    {"when": {"user": "^plain"}, "text": "Just **words**, and an ünïcödé line.\nTwo lines."},
    {"when": {"user": "^think"}, "thinking": "Let me see.", "text": "Seen."},
    {"when": {"user": "^count", "turn": 0}, "text": "Counting.",
     "tool_calls": [call("count", to=3)]},
    {"when": {"user": "^count", "turn": 1}, "text": "It is three."},
    {"when": {"user": "^silent", "turn": 0}, "tool_calls": [call("count", to=1)]},
    {"when": {"user": "^silent", "turn": 1}, "text": "Done in silence."},
    {"when": {"user": "^many", "turn": 0}, "text": "Several at once.", "tool_calls": [
        call("count", to=1), show("metric", label="m", value=1), call("fail"),
        show("data-table", **TABLE), call("relabel"), call("nowhere", x=[1, {"y": None}])]},
    {"when": {"user": "^many", "turn": 1}, "text": "", "tool_calls": [
        show("info-card", title="C", fields=[{"label": "l", "value": "v"}])]},
    {"when": {"user": "^many", "turn": 2}, "text": "That was a lot."},
    {"when": {"user": "^shout", "turn": 0}, "tool_calls": [call("shout")]},
    {"when": {"user": "^shout", "turn": 1}, "text": "Loud."},
    {"when": {"user": "^broken", "turn": 0}, "tool_calls": [
        {"name": "count", "arguments": '{"to": '}]},
    {"when": {"user": "^broken", "turn": 1}, "text": "It was not JSON."},
    {"when": {"user": "^odd", "turn": 0}, "text": "Odd\x00 ones.", "tool_calls": [
        call("x" * 300, to="\x00"), call("count", to="y" * 400, **{"k\x00": "\ud800"})]},
    {"when": {"user": "^odd", "turn": 1}, "text": "All odd."},
    {"when": {"user": "^refused"}, "error": {"kind": "auth", "message": "no key"},
     "text": "never said"},
    {"when": {"user": "^cut"}, "text": "Half of this answer is lost.",
     "error": {"kind": "server", "message": "gone", "after_chars": 12}},
    {"when": {"user": "^again"}, "text": "Once more.", "tool_calls": [call("count", to=1)]},
    {"when": {"user": "^loops"}, "tool_calls": [call("count", to=1), call("relabel")]},
    {"when": {"user": "^stop", "turn": 0}, "text": "I stop here.",
     "tool_calls": [call("stop_execution", reason="told to")]},
    {"when": {"user": "^hang", "turn": 0}, "text": "Waiting.",
     "tool_calls": [show("metric", label="w", value=1), call("hang")]},
    {"when": {"user": "^hang", "turn": 1}, "text": "It ended."},
    {"when": {"user": "^slow"}, "text": "One word after the other, slowly. " * 40, "chunk": 4,
     "delay_ms": 20},
    {"when": {"user": "^pay", "turn": 0}, "text": "Shall I?", "tool_calls": [call("pay", to="x")]},
    {"when": {"user": "^pay", "turn": 1}, "text": "So be it."},
    {"text": "I have no reply to that."},
]  # fmt: skip


def write_trials(folder: Path) -> None:
    """Write the agent's files."""
    files: dict[str, str] = {
        "amodal.json": json.dumps(CONFIG),
        "agents/main.md": "You are tested.",
        "scripts/trials.json": json.dumps({"replies": REPLIES}),
    }
    for name, (description, handler) in TOOLS.items():
        files[f"tools/{name}/tool.json"] = json.dumps(
            {"parameters": {"type": "object"}, **description}
        )
        files[f"tools/{name}/handler.py"] = handler
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
