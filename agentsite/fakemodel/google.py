"""Google's streamGenerateContent wire (`alt=sse`): whole JSON chunks, no event names."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

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
from agentsite.fakemodel.strict import check_google

_STOPS = {"end": "STOP", "tool_calls": "STOP", "max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def read_turn(body: dict[str, Any]) -> Turn:
    text, call = "", 0
    for content in listed(body.get("contents")):
        if content.get("role") == "model":
            call += 1
        else:
            said = join_texts(content.get("parts"))
            if said:
                text, call = said, 0
    return Turn(text, call)


def tell_usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read
    told = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": prompt + usage.output + usage.reasoning,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if usage.cache_read:
        told["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        told["thoughtsTokenCount"] = usage.reasoning
    return told


def sign() -> str:
    return base64.b64encode(b"fake-signature-%08d" % next_number()).decode()


def build(plan: Plan, model: str, size: int) -> Frames:
    return fold_frames(say(plan, model, plan_usage(plan, size)))


def say(plan: Plan, model: str, usage: Usage) -> Iterator[tuple[bytes, bool]]:
    common = {"modelVersion": model, "responseId": f"fake{next_number():018d}"}
    early = {"promptTokenCount": usage.input + usage.cache_read, "totalTokenCount": usage.input}

    def chunk(parts: list[dict[str, Any]], finish: str | None = None) -> bytes:
        candidate: dict[str, Any] = {"index": 0}
        if parts:
            candidate["content"] = {"role": "model", "parts": parts}
        if finish is not None:
            candidate["finishReason"] = finish
        told = early if finish is None else tell_usage(usage)
        return b"data: %s\r\n\r\n" % encode(
            {"candidates": [candidate], "usageMetadata": told, **common}
        )

    for thought in cut_pieces(plan.thinking or "", plan.chars):
        yield chunk([{"text": thought, "thought": True}]), True
    for piece in plan.pieces():
        yield chunk([{"text": piece}]), True
    broken = False
    for index, (name, arguments) in enumerate(plan.calls()):
        try:
            args = msgspec.json.decode(arguments.encode(), type=dict[str, Any])
        except msgspec.DecodeError:
            broken = True
            break
        part: dict[str, Any] = {"functionCall": {"name": name, "args": args}}
        if index == 0:
            part["thoughtSignature"] = sign()
        yield chunk([part]), True
    stop = "MALFORMED_FUNCTION_CALL" if broken else _STOPS[plan.stop_reason()]
    last: dict[str, Any] = {"text": ""}
    if plan.thinking is not None:
        last["thoughtSignature"] = sign()
    yield chunk([] if broken or plan.tools else [last], stop), False


def describe(error: PlannedError) -> dict[str, Any]:
    status = error.type or _STATUSES.get(error.status, "UNKNOWN")
    told: dict[str, Any] = {"code": error.status, "message": error.message, "status": status}
    if error.retry_after is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        told["details"] = [{"@type": kind, "retryDelay": f"{error.retry_after:g}s"}]
    return {"error": told}


def refuse(error: PlannedError) -> tuple[dict[str, str], bytes]:
    return {}, encode(describe(error))


def error_event(error: PlannedError) -> bytes:
    return b"data: %s\r\n\r\n" % encode(describe(error))


WIRE = Wire("google", read_turn, build, refuse, error_event, check_google)
