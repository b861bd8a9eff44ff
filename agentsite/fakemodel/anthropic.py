"""Anthropic's Messages wire: event order, names and fields as its public reference has them."""

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
from agentsite.fakemodel.strict import check_anthropic

_STOPS = {
    "end": "end_turn",
    "tool_calls": "tool_use",
    "max_tokens": "max_tokens",
    "refusal": "refusal",
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode({"type": name, **data}))


def read_turn(body: dict[str, Any]) -> Turn:
    text, call = "", 0
    for message in listed(body.get("messages")):
        if message.get("role") == "assistant":
            call += 1
        else:
            content = message.get("content")
            parts = [p for p in listed(content) if p.get("type") == "text"]
            said = content if isinstance(content, str) else join_texts(parts)
            if said:
                text, call = said, 0
    return Turn(text, call)


def input_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
    }


def build(plan: Plan, model: str, size: int) -> Frames:
    return fold_frames(say(plan, model, plan_usage(plan, size)))


def say(plan: Plan, model: str, usage: Usage) -> Iterator[tuple[bytes, bool]]:
    """Yield every event of the answer, and whether it is a delta."""
    opening = {
        **input_usage(usage),
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": 1,
        "service_tier": "standard",
    }
    message: dict[str, Any] = {
        "id": f"msg_fake{next_number():020d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": opening,
    }
    yield event("message_start", {"message": message}), False
    for index, (block, deltas) in enumerate(blocks(plan)):
        yield event("content_block_start", {"index": index, "content_block": block}), False
        if index == 0:
            yield event("ping", {}), False
        for delta in deltas:
            yield event("content_block_delta", {"index": index, "delta": delta}), True
        yield event("content_block_stop", {"index": index}), False
    totals: dict[str, Any] = {
        **input_usage(usage),
        "output_tokens": usage.output + usage.reasoning,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }
    stop = {"stop_reason": _STOPS[plan.stop_reason()], "stop_sequence": None}
    yield event("message_delta", {"delta": stop, "usage": totals}), False
    yield event("message_stop", {}), False


def blocks(plan: Plan) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each content block as it starts, with its deltas."""
    if plan.thinking is not None:
        thoughts = cut_pieces(plan.thinking, plan.chars)
        deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": t} for t in thoughts]
        deltas.append({"type": "signature_delta", "signature": f"c2lnbmVk{next_number():08d}"})
        yield {"type": "thinking", "thinking": "", "signature": ""}, deltas
    pieces = plan.pieces()
    if pieces:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces]
    for name, arguments in plan.calls():
        block = {
            "type": "tool_use",
            "id": f"toolu_fake{next_number():018d}",
            "name": name,
            "input": {},
        }
        fragments = ["", *cut_pieces(arguments, plan.chars)]
        yield block, [{"type": "input_json_delta", "partial_json": f} for f in fragments]


def describe(error: PlannedError) -> dict[str, Any]:
    kind = error.type or _TYPES.get(error.status, "api_error")
    return {"error": {"type": kind, "message": error.message}, "request_id": "req_fake"}


def refuse(error: PlannedError) -> tuple[dict[str, str], bytes]:
    headers = {"request-id": "req_fake"}
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    return headers, encode({"type": "error", **describe(error)})


def error_event(error: PlannedError) -> bytes:
    return event("error", describe(error))


WIRE = Wire("anthropic", read_turn, build, refuse, error_event, check_anthropic)
