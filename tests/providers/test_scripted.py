"""The scripted provider: the same request gives the same answer, paced and counted."""

from __future__ import annotations

from typing import Any

import pytest

from agentsite.engine.deltas import Stopped, TextDelta, Usage
from agentsite.engine.messages import (
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.manifest.scripts import Script
from agentsite.providers.base import VendorModel
from agentsite.providers.registry import build
from tests.providers.asking import collect, fail

FALLBACK = {"text": "I only know my script."}


def model_of(*replies: dict[str, Any], name: str = "demo") -> VendorModel:
    script = Script.model_validate({"name": "demo", "replies": [*replies, FALLBACK]})
    return build(ModelConfig(provider="scripted", model=name), {"demo": script})


def asked(text: str, *after: Message) -> ModelRequest:
    return ModelRequest("You help.", (user_message(text), *after))


async def test_the_first_fitting_reply_is_played() -> None:
    model = model_of({"when": {"user": "weather"}, "text": "It rains."})
    assert (await collect(model, asked("The weather?"))).message.text == "It rains."
    assert (await collect(model, asked("Else?"))).message.text == FALLBACK["text"]


async def test_calls_results_and_the_turn_decide_too() -> None:
    model = model_of(
        {
            "when": {"user": "look", "turn": 0},
            "thinking": "I should look.",
            "text": "Looking.",
            "tool_calls": [{"name": "look", "arguments": {"q": 1}}, {"name": "look"}],
        },
        {"when": {"after_tool": "look"}, "text": "Found it."},
    )
    first = await collect(model, asked("look!"))
    assert [c.arguments for c in first.message.tool_calls] == [{"q": 1}, {}]
    assert first.stopped == "tool_calls"
    call = ToolCallPart("tc_1", "look", {})
    result = ToolResultPart("tc_1", "look", "ok", (TextPart("here"),))
    after = (Message("assistant", (call,)), Message("tool", (result,)))
    assert (await collect(model, asked("look!", *after))).message.text == "Found it."


async def test_broken_arguments_are_sent_as_written() -> None:
    reply = {"when": {"user": "x"}, "tool_calls": [{"name": "look", "arguments": "{oops"}]}
    answer = await collect(model_of(reply), asked("x"))
    assert answer.message.tool_calls[0].invalid == "{oops"


async def test_pieces_have_the_size_and_pace_of_the_script() -> None:
    reply = {"when": {"user": "x"}, "text": "abcdefg", "chunk": 3, "delay_ms": 1}
    answer = await collect(model_of(reply), asked("x"))
    texts = [d.text for d in answer.deltas if isinstance(d, TextDelta)]
    assert texts == ["abc", "def", "g"]
    assert len(answer.batches) == 4  # one delta each, then usage and the end


async def test_usage_is_scripted_or_estimated() -> None:
    told = {"input": 1, "cache_read": 2, "cache_write": 3, "output": 4, "reasoning": 5}
    reply = {"when": {"user": "x"}, "text": "ok", "usage": told}
    assert (await collect(model_of(reply), asked("x"))).usage == Usage(**told)
    estimated = (await collect(model_of(), asked("y" * 400))).usage
    assert estimated == Usage(input=102, output=len(FALLBACK["text"]) // 4)


@pytest.mark.parametrize(("after", "text"), [(None, ""), (4, "half")])
async def test_a_scripted_error_strikes_where_it_says(after: int | None, text: str) -> None:
    failure = {"kind": "rate_limited", "message": "slow down", "after_chars": after}
    reply = {"when": {"user": "x"}, "text": "half of it", "error": failure}
    error, seen = await fail(model_of(reply), asked("x"))
    assert (error.kind, error.message) == ("rate_limited", "slow down")
    assert "".join(d.text for d in seen if isinstance(d, TextDelta)) == text


async def test_without_scripts_it_says_so() -> None:
    model = build(ModelConfig(provider="scripted", model="demo"), {})
    answer = await collect(model, asked("hello"))
    assert "no script" in answer.message.text
    assert answer.deltas[-1] == Stopped("end")
