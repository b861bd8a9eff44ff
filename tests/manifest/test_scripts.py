"""Scripts: matching, joining, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.manifest.loader import load
from agentsite.manifest.scripts import Script, join_scripts
from tests.manifest.agents import find_messages, write_agent

FALLBACK = {"text": "fallback"}


def make_script(name: str, *replies: dict[str, Any]) -> Script:
    return Script.model_validate({"name": name, "replies": [*replies, FALLBACK]})


def test_first_reply_that_fits_wins_and_all_conditions_count() -> None:
    script = make_script(
        "s",
        {"when": {"user": "order", "after_tool": "present"}, "text": "closing"},
        {"when": {"user": "order", "turn": 1}, "text": "second"},
        {"when": {"user": "ORDER"}, "text": "first"},
    )
    assert script.choose("my order", 0, None).text == "first"
    assert script.choose("my Order", 1, "look_up").text == "second"
    assert script.choose("my order", 2, "present").text == "closing"
    assert script.choose("hello", 2, "present").text == "fallback"


def test_joined_scripts_and_a_script_by_name() -> None:
    one = make_script("one", {"when": {"user": "a"}, "text": "A1"})
    two = make_script(
        "two", {"when": {"user": "a"}, "text": "A2"}, {"when": {"turn": 3}, "text": "T"}
    )
    joined = join_scripts([one, two], "anything")
    assert joined is not None
    assert (joined.choose("a", 0, None).text, joined.choose("z", 3, None).text) == ("A1", "T")
    assert join_scripts([one, two], "two") is two
    assert join_scripts([], "x") is None


def test_script_files_are_read(tmp_path: Path) -> None:
    reply = {
        "when": {"user": "x"},
        "thinking": "hm",
        "tool_calls": [{"name": "t", "arguments": {"a": 1}}, {"name": "t", "arguments": "{broken"}],
        "usage": {"input": 3, "cache_read": 1},
        "delay_ms": 5,
        "chunk": 2,
        "error": {"kind": "server", "message": "down", "after_chars": 3},
    }
    root = write_agent(
        tmp_path, {"scripts/demo.json": {"x-note": "n", "replies": [reply, FALLBACK]}}
    )
    script = load(root, {}).scripts[0]
    first = script.replies[0]
    assert (script.name, first.chunk, first.delay_ms) == ("demo", 2, 5)
    assert first.usage is not None
    assert first.error is not None
    assert (first.usage.input, first.error.after_chars) == (3, 3)


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([], "replies: must not be empty"),
        ([{"when": {"user": "x"}, "text": "t"}], "must have no `when`"),
        ([FALLBACK, FALLBACK], "replies[0] has no `when`"),
        (
            [{"when": {"user": "("}, "text": "t"}, FALLBACK],
            "when.user: is not a regular",
        ),
        ([{"when": {"user": "x"}}, FALLBACK], "replies[0]: says nothing"),
        ([{"text": "t", "tool_calls": [{"name": "t"}]}], "would never end"),
        ([{"when": {"usr": "x"}, "text": "t"}, FALLBACK], 'did you mean "user"?'),
        ([{"text": "t", "error": {"kind": "odd", "message": "m"}}], "replies[0].error.kind"),
    ],
)
def test_each_mistake_is_told(tmp_path: Path, replies: list[Any], message: str) -> None:
    found = find_messages(write_agent(tmp_path, {"scripts/s.json": {"replies": replies}}))
    assert len(found) == 1
    assert message in found[0]
