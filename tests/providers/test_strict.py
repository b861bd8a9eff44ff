"""The strict validators: each rule is broken once, and the sound request passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agentsite.fakemodel.strict import (
    check_anthropic,
    check_google,
    check_openai_chat,
    check_openai_responses,
)

Body = dict[str, Any]
ANTHROPIC: Body = {
    "model": "m",
    "max_tokens": 2000,
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "a", "name": "look", "input": {}},
                {"type": "tool_use", "id": "b", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {"type": "tool_result", "tool_use_id": "b"},
                {"type": "text", "text": "go on"},
            ],
        },
    ],
}
CHAT: Body = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": i, "type": "function", "function": {"name": "look", "arguments": "{}"}}
                for i in "ab"
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ],
}
RESPONSES: Body = {
    "model": "m",
    "store": False,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"role": "assistant", "content": "done"},
    ],
}
GOOGLE: Body = {
    "model": "gemini-3-pro",
    "contents": [
        {"role": "user", "parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "s"},
                {"functionCall": {"name": "look", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "look", "response": {"output": "1"}}}] * 2,
        },
    ],
}
CHECKS = [
    (check_anthropic, ANTHROPIC),
    (check_openai_chat, CHAT),
    (check_openai_responses, RESPONSES),
    (check_google, GOOGLE),
]


@pytest.mark.parametrize(("check", "body"), CHECKS)
def test_a_sound_request_has_no_problems(check: Callable[[Body], list[str]], body: Body) -> None:
    assert check(body) == []


def drop(place: str, at: int) -> Callable[[Body], None]:
    return lambda body: body[place].pop(at)


def put(path: str, value: Any) -> Callable[[Body], None]:
    """Set a value deep in a body: `messages.1.content.0.signature`."""

    def change(body: Body) -> None:
        *way, last = path.split(".")
        inner: Any = body
        for step in way:
            inner = inner[int(step)] if isinstance(inner, list) else inner[step]
        inner[int(last) if isinstance(inner, list) else last] = value

    return change


BROKEN = [
    (check_anthropic, ANTHROPIC, drop("messages", 2), "without its one tool_result"),
    (check_anthropic, ANTHROPIC, drop("messages", 0), "first message must use the user role"),
    (check_anthropic, ANTHROPIC, drop("messages", 1), "without a tool_use"),
    (check_anthropic, ANTHROPIC, drop("tools", 0), "must be defined"),
    (check_anthropic, ANTHROPIC, put("max_tokens", 0), "max_tokens"),
    (check_anthropic, ANTHROPIC, put("messages.0.content", " "), "non-whitespace"),
    (check_anthropic, ANTHROPIC, put("messages.0.content", []), "must not be empty"),
    (check_anthropic, ANTHROPIC, put("messages.1.content.0.signature", ""), "signature"),
    (check_anthropic, ANTHROPIC, put("messages.1.content.2.id", "a"), "must be unique"),
    (check_anthropic, ANTHROPIC, put("messages.1.content.1.id", "a b"), "must match"),
    (check_anthropic, ANTHROPIC, put("messages.1.content.1.input", "{}"), "must be an object"),
    (check_anthropic, ANTHROPIC, put("messages.2.content.1.tool_use_id", "z"), "tool_result"),
    (check_anthropic, ANTHROPIC, put("messages.2.role", "assistant"), "must alternate"),
    (
        check_anthropic,
        ANTHROPIC,
        put("thinking", {"type": "enabled", "budget_tokens": 2000}),
        "greater than thinking",
    ),
    (check_openai_chat, CHAT, drop("messages", 3), "without a response"),
    (check_openai_chat, CHAT, drop("messages", 1), "without a preceding call"),
    (check_openai_chat, CHAT, put("messages.0.content", ""), "must not be empty"),
    (check_openai_chat, CHAT, put("messages.1.tool_calls.1.id", "a"), "duplicate"),
    (check_openai_chat, CHAT, put("messages.1.tool_calls.0.id", "x" * 41), "1 to 40"),
    (
        check_openai_chat,
        CHAT,
        put("messages.1.tool_calls.0.function.arguments", {}),
        "must be a string",
    ),
    (check_openai_responses, RESPONSES, drop("input", 3), "no tool output found"),
    (check_openai_responses, RESPONSES, drop("input", 2), "no tool call found"),
    (check_openai_responses, RESPONSES, drop("input", 2), "required following item"),
    (check_openai_responses, RESPONSES, put("input.1.encrypted_content", ""), "not stored"),
    (check_openai_responses, RESPONSES, put("input.0.content.0.type", "output_text"), "not one"),
    (check_google, GOOGLE, drop("contents", 2), "have no responses"),
    (check_google, GOOGLE, drop("contents", 1), "must equal"),
    (check_google, GOOGLE, put("contents.1.parts.0.thoughtSignature", ""), "thought_signature"),
    (check_google, GOOGLE, put("contents.0.parts.0.text", ""), "not empty"),
    (check_google, GOOGLE, put("contents.0.parts", []), "must not be empty"),
    (check_google, GOOGLE, put("contents.0.role", "assistant"), "valid role"),
    (
        check_google,
        GOOGLE,
        put("contents.2.parts.0.functionResponse", {"name": "x", "response": {}}),
        "does not match",
    ),
]


@pytest.mark.parametrize(("check", "sound", "damage", "problem"), BROKEN)
def test_each_rule_is_enforced(
    check: Callable[[Body], list[str]], sound: Body, damage: Callable[[Body], None], problem: str
) -> None:
    body = copy.deepcopy(sound)
    damage(body)
    assert any(problem in text for text in check(body)), check(body)
