"""Request mappings: caching, echoes to the same vendor only, and what a switch leaves out."""

from __future__ import annotations

from typing import Any

from agentsite.engine.messages import (
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from agentsite.engine.ports import ModelRequest
from agentsite.fakemodel import strict
from agentsite.manifest.models import ModelConfig
from agentsite.providers import anthropic, google, openai
from agentsite.providers.history import wire_id
from tests.providers.asking import LOOK, WAIT

CLAUDE = ModelConfig(provider="anthropic", model="claude-sonnet-4-20250514", thinking=2000)
GPT = ModelConfig(provider="openai", model="gpt-5", thinking=8000)
VLLM = ModelConfig(provider="openai", model="qwen", base_url="http://gpu.example:8000/v1")
GEMINI = ModelConfig(provider="google", model="gemini-3-pro", thinking=1000)


def loop(provider: str, thinking: dict[str, Any], call: dict[str, Any]) -> tuple[Message, ...]:
    """A run in the middle of its tool loop, as `provider` made it."""
    return (
        user_message("earlier"),
        Message("assistant", (TextPart("earlier answer"),)),
        user_message("now"),
        Message(
            "assistant",
            (
                ThinkingPart("hm", provider, thinking),
                TextPart("Looking."),
                ToolCallPart("tc_1", "look", {"q": 1}, provider=provider, provider_data=call),
            ),
        ),
        Message("tool", (ToolResultPart("tc_1", "look", "error", (TextPart("none"),)),)),
    )


def blocks_marked(body: dict[str, Any]) -> list[str]:
    marked = []
    for name in ("system", "tools"):
        marked += [name for block in body.get(name, []) if "cache_control" in block]
    for at, message in enumerate(body["messages"]):
        marked += [f"messages.{at}" for b in message["content"] if "cache_control" in b]
    return marked


def test_anthropic_caches_system_last_tool_and_the_last_stable_message() -> None:
    history = loop("anthropic", {"signature": "s"}, {"id": "toolu_1"})
    first = anthropic.to_request(ModelRequest("Be brief.", history[:3], (LOOK, WAIT)), CLAUDE)
    assert blocks_marked(first) == ["system", "tools", "messages.1"]
    assert "cache_control" in first["tools"][-1]
    later = anthropic.to_request(ModelRequest("Be brief.", history, (LOOK, WAIT)), CLAUDE)
    assert blocks_marked(later) == ["system", "tools", "messages.1", "messages.4"]


def test_the_cached_prefix_is_the_same_in_every_turn_of_a_run() -> None:
    history = loop("anthropic", {"signature": "s"}, {"id": "toolu_1"})

    def prefix(body: dict[str, Any]) -> list[Any]:
        plain = [
            [{k: v for k, v in b.items() if k != "cache_control"} for b in m["content"]]
            for m in body["messages"][:3]
        ]
        return [body["system"], body["tools"], plain]

    first = anthropic.to_request(ModelRequest("S", history[:3], (LOOK,)), CLAUDE)
    later = anthropic.to_request(ModelRequest("S", history, (LOOK,)), CLAUDE)
    assert prefix(first) == prefix(later)


def test_anthropic_gets_its_signed_thinking_and_ids_back() -> None:
    history = loop("anthropic", {"signature": "s"}, {"id": "toolu_1"})
    body = anthropic.to_request(ModelRequest("", history, (LOOK,)), CLAUDE)
    thinking, text, call = body["messages"][3]["content"]
    assert thinking == {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert text["text"] == "Looking."
    assert call["id"] == body["messages"][4]["content"][0]["tool_use_id"] == "toolu_1"
    assert body["messages"][4]["content"][0]["is_error"] is True
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert strict.check_anthropic(body) == []


def test_anthropic_goes_on_without_thinking_in_a_loop_another_vendor_began() -> None:
    history = loop("openai", {"id": "rs_1", "encrypted_content": "x"}, {"id": "call_1"})
    body = anthropic.to_request(ModelRequest("", history, (LOOK,)), CLAUDE)
    assert "thinking" not in body
    assert [b["type"] for b in body["messages"][3]["content"]] == ["text", "tool_use"]
    assert body["messages"][3]["content"][1]["id"] == "tc_1"
    assert strict.check_anthropic(body) == []


def test_newer_claudes_think_by_effort() -> None:
    for model in ("claude-opus-4-6", "claude-opus-5", "claude-sonnet-4-6-20260101"):
        config = CLAUDE.model_copy(update={"model": model})
        body = anthropic.to_request(ModelRequest("", (user_message("x"),)), config)
        assert body["thinking"]["type"] == "adaptive"
        assert body["output_config"] == {"effort": "low"}
    for model in ("claude-sonnet-4-5-20250929", "claude-haiku-4-5", "claude-3-7-sonnet-20250219"):
        config = CLAUDE.model_copy(update={"model": model})
        body = anthropic.to_request(ModelRequest("", (user_message("x"),)), config)
        assert body["thinking"]["type"] == "enabled"


def test_calls_in_the_history_are_declared_when_no_tool_is_offered() -> None:
    history = loop("anthropic", {"signature": "s"}, {"id": "toolu_1"})
    body = anthropic.to_request(ModelRequest("", history), CLAUDE)
    assert body["tools"] == [{"name": "look", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


def test_openai_gets_its_encrypted_reasoning_back() -> None:
    history = loop("openai", {"id": "rs_1", "encrypted_content": "x"}, {"id": "call_1"})
    body = openai.to_request(ModelRequest("S", history, (LOOK,), session_id="s_9"), GPT)
    assert body["input"][3] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "x",
    }
    assert body["prompt_cache_key"] == "s_9"
    assert body["store"] is False
    assert body["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert strict.check_openai_responses(body) == []


def test_openai_keeps_no_reasoning_that_led_to_nothing() -> None:
    lone = Message(
        "assistant", (ThinkingPart("hm", "openai", {"id": "rs_1", "encrypted_content": "x"}),)
    )
    body = openai.to_request(ModelRequest("", (user_message("a"), lone, user_message("b"))), GPT)
    assert [item["role"] for item in body["input"]] == ["user", "user"]


def test_ids_of_one_address_are_not_sent_to_another() -> None:
    history = loop("openai", {}, {"id": "call_1", "origin": "openai"})
    body = openai.to_request(ModelRequest("", history, (LOOK,)), VLLM)
    assert body["messages"][-1]["tool_call_id"] == "tc_1"
    assert body["max_tokens" if "max_tokens" in body else "model"] == "qwen"
    assert "prompt_cache_key" not in body
    assert strict.check_openai_chat(body) == []


def test_openai_itself_is_asked_by_responses_and_others_by_chat() -> None:
    assert openai.uses_responses(GPT)
    assert not openai.uses_responses(VLLM)
    assert openai.uses_responses(VLLM.model_copy(update={"api": "responses"}))
    assert not openai.uses_responses(GPT.model_copy(update={"api": "chat"}))


def test_mistral_is_spared_the_stream_options_it_refuses() -> None:
    mistral = VLLM.model_copy(update={"base_url": "https://api.mistral.ai/v1"})
    request = ModelRequest("", (user_message("x"),))
    assert "stream_options" not in openai.to_request(request, mistral)
    assert openai.to_request(request, VLLM)["stream_options"] == {"include_usage": True}


def test_google_gets_its_signatures_back() -> None:
    history = loop("google", {"thought_signature": "t"}, {"thought_signature": "c", "id": "f1"})
    body = google.to_request(ModelRequest("S", history, (LOOK,)), GEMINI)
    parts = body["contents"][3]["parts"]
    assert parts[0] == {"text": "", "thoughtSignature": "t"}
    assert parts[2]["thoughtSignature"] == "c"
    answer = body["contents"][4]["parts"][0]["functionResponse"]
    assert answer == {"name": "look", "response": {"error": "none"}, "id": "f1"}
    assert strict.check_google(body | {"model": GEMINI.model}) == []


def test_google_takes_calls_another_vendor_made() -> None:
    history = loop("anthropic", {"signature": "s"}, {"id": "toolu_1"})
    body = google.to_request(ModelRequest("S", history, (LOOK,)), GEMINI)
    call = body["contents"][3]["parts"][1]
    assert call["thoughtSignature"] == "skip_thought_signature_validator"
    assert "id" not in call["functionCall"]
    assert strict.check_google(body | {"model": GEMINI.model}) == []


def test_request_settings_override_those_of_the_config() -> None:
    request = ModelRequest("", (user_message("x"),), max_tokens=77, temperature=0.5, thinking=0)
    assert anthropic.to_request(request, CLAUDE)["max_tokens"] == 77
    assert anthropic.to_request(request, CLAUDE)["temperature"] == 0.5
    assert openai.to_request(request, GPT)["max_output_tokens"] == 77
    assert openai.to_request(request, VLLM)["max_tokens"] == 77
    assert google.to_request(request, GEMINI)["generationConfig"] == {
        "maxOutputTokens": 77,
        "temperature": 0.5,
    }


def test_our_ids_are_made_fit_without_becoming_ambiguous() -> None:
    assert wire_id("tc_abc-1", {}) == "tc_abc-1"
    assert wire_id("tc_1", {"id": "toolu_9"}) == "toolu_9"
    strange, other = wire_id("tc_ä b", {}), wire_id("tc_ö b", {})
    assert strange != other
    assert len(wire_id("tc_" + "x" * 80, {})) == 40
    assert wire_id("tc_" + "x" * 80, {}) != wire_id("tc_" + "x" * 81, {})
