"""OpenAI's Chat Completions wire; the many compatible servers speak it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentsite.engine.deltas import Usage
from agentsite.fakemodel.frames import (
    Frames,
    Turn,
    Wire,
    encode,
    fold_frames,
    join_texts,
    listed,
    next_number,
)
from agentsite.fakemodel.plan import Plan, PlannedError, cut_pieces, plan_usage
from agentsite.fakemodel.strict import check_openai_chat

_STOPS = {
    "end": "stop",
    "tool_calls": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}
_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
CREATED = 1_760_000_000


def read_turn(body: dict[str, Any]) -> Turn:
    text, call, after_tool = "", 0, False
    for message in listed(body.get("messages")):
        role, content = message.get("role"), message.get("content")
        if role == "assistant":
            call += 1
        elif role == "user" and not (after_tool and holds_image(content)):
            text, call = join_texts(content), 0
        after_tool = role == "tool"
    return Turn(text, call)


def holds_image(content: Any) -> bool:
    """Tell whether a user message carries the pictures of a tool, which `tool` messages cannot."""
    return any(part.get("type") == "image_url" for part in listed(content))


def tell_usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h
    answer = usage.output + usage.reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def build(plan: Plan, model: str, size: int) -> Frames:
    return fold_frames(say(plan, model, plan_usage(plan, size)))


def say(plan: Plan, model: str, usage: Usage) -> Iterator[tuple[bytes, bool]]:
    base = {
        "id": f"chatcmpl-fake{next_number():020d}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: %s\n\n" % encode({**base, "choices": [choice], "usage": None})

    yield chunk({"role": "assistant", "content": "", "refusal": None}), False
    for thought in cut_pieces(plan.thinking or "", plan.chars):
        yield chunk({"reasoning_content": thought}), True
    for piece in plan.pieces():
        yield chunk({"content": piece}), True
    for index, (name, arguments) in enumerate(plan.calls()):
        start = {
            "index": index,
            "id": f"call_fake{next_number():020d}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        yield chunk({"tool_calls": [start]}), True
        for fragment in cut_pieces(arguments, plan.chars):
            call = {"index": index, "function": {"arguments": fragment}}
            yield chunk({"tool_calls": [call]}), True
    yield chunk({}, _STOPS[plan.stop_reason()]), False
    final = {**base, "choices": [], "usage": tell_usage(usage)}
    yield b"data: %s\n\ndata: [DONE]\n\n" % encode(final), False


def describe(error: PlannedError) -> dict[str, Any]:
    kind, code = _TYPES.get(error.status, ("server_error", None))
    return {"message": error.message, "type": error.type or kind, "param": None, "code": code}


def refuse(error: PlannedError) -> tuple[dict[str, str], bytes]:
    headers = {"x-request-id": "req_fake"}
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    return headers, encode({"error": describe(error)})


def error_event(error: PlannedError) -> bytes:
    return b"data: %s\n\n" % encode({"error": describe(error)})


WIRE = Wire("openai", read_turn, build, refuse, error_event, check_openai_chat)
