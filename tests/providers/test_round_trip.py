"""Any repaired history is accepted by all four mappings' strict validators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agentsite.engine.history import repair
from agentsite.engine.messages import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from agentsite.engine.ports import ModelRequest
from agentsite.fakemodel import FakeModel, strict
from agentsite.manifest.models import ModelConfig
from agentsite.providers import anthropic, google, openai
from tests.providers.asking import LOOK, VARIANTS, WAIT, Variant, collect, directive

MAPPINGS: list[tuple[Callable[..., Any], Callable[..., list[str]], ModelConfig]] = [
    (
        anthropic.to_request,
        strict.check_anthropic,
        ModelConfig(provider="anthropic", model="claude-sonnet-4-20250514", thinking=2000),
    ),
    (
        openai.to_request,
        strict.check_openai_chat,
        ModelConfig(provider="openai", model="gpt-5", api="chat"),
    ),
    (
        openai.to_request,
        strict.check_openai_responses,
        ModelConfig(provider="openai", model="gpt-5", thinking=9000),
    ),
    (
        google.to_request,
        strict.check_google,
        ModelConfig(provider="google", model="gemini-3-pro"),
    ),
]
ECHOES: dict[str, tuple[dict[str, Any], Callable[[int], dict[str, Any]]]] = {
    "anthropic": ({"signature": "sig"}, lambda n: {"id": f"toolu_{n}"}),
    "openai": ({"id": "rs_1", "encrypted_content": "x"}, lambda n: {"id": f"call_{n}"}),
    "google": ({"thought_signature": "sig"}, lambda n: {"thought_signature": "sig"}),
    "scripted": ({}, lambda n: {}),
}
texts = st.sampled_from(["", " ", "\n", "hello", "Grüße"])
pictures = st.sampled_from(
    [ImagePart("image/png", data="AAAA"), ImagePart("", url="https://x.example/a.png")]
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Message, ...]:
    """Runs of several vendors, left at any point: aborted, half answered, over-answered."""
    messages = [user_message("begin")]
    number = 0
    for _ in range(draw(st.integers(1, 4))):
        images = draw(st.lists(pictures, max_size=1))
        messages.append(Message("user", (TextPart(draw(texts)), *images)))
        for _ in range(draw(st.integers(0, 3))):
            provider = draw(st.sampled_from(sorted(ECHOES)))
            sealed, call_data = ECHOES[provider]
            parts: list[Part] = []
            if draw(st.booleans()):
                signed = draw(st.booleans())
                parts.append(ThinkingPart(draw(texts), provider, sealed if signed else {}))
            parts.append(TextPart(draw(texts)))
            calls = []
            for _ in range(draw(st.integers(0, 3))):
                number += 1
                data = call_data(number)
                calls.append(ToolCallPart(f"tc_{number}", "look", {}, None, provider, data))
            messages.append(Message("assistant", (*parts, *calls)))
            answered = [call for call in calls if draw(st.integers(0, 5))]
            results = tuple(
                ToolResultPart(
                    call.id,
                    call.name,
                    draw(st.sampled_from(["ok", "error", "denied", "interrupted", "expired"])),
                    (TextPart(draw(texts)), *draw(st.lists(pictures, max_size=1))),
                )
                for call in answered
            )
            if results:
                messages.append(Message("tool", results))
    if draw(st.booleans()):
        messages.append(user_message("next"))
    if draw(st.booleans()):
        messages[0] = Message("summary", (TextPart("What was."),))
    return tuple(messages)


@pytest.mark.parametrize(("to_request", "check", "config"), MAPPINGS)
@given(history=histories(), tools=st.sampled_from([(), (LOOK, WAIT)]))
def test_any_repaired_history_is_accepted(
    to_request: Callable[..., Any],
    check: Callable[..., list[str]],
    config: ModelConfig,
    history: tuple[Message, ...],
    tools: Any,
) -> None:
    request = ModelRequest("S", repair(history), tools)
    body = to_request(request, config)
    assert check(body | {"model": config.model}) == []


@pytest.mark.parametrize("second", VARIANTS, ids=str)
async def test_a_conversation_may_change_vendors_between_any_two_calls(
    variant: Variant, second: Variant, fake: FakeModel
) -> None:
    """Whatever one vendor answered, signed and numbered, every other takes as history."""
    plans = [
        {"thinking": "hm", "text": "Two at once.", "tools": [{"name": "look"}, {"name": "wait"}]},
        {"text": "Once more.", "tools": [{"name": "look"}]},
        {"text": "Done."},
    ]
    history: tuple[Message, ...] = (user_message(directive(*plans)),)
    for turn in range(3):
        chosen = variant if turn % 2 == 0 else second
        model = chosen.model_of(fake, **({"thinking": 2000}))
        answer = await collect(model, ModelRequest("S", history, (LOOK, WAIT)))
        results = tuple(
            ToolResultPart(call.id, call.name, "ok", (TextPart("r"),))
            for call in answer.message.tool_calls
        )
        history += (answer.message,) + ((Message("tool", results),) if results else ())
    assert history[-1].text == "Done."
    assert all(recorded.problems == () for recorded in fake.requests)
