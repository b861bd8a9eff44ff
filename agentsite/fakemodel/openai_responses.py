"""OpenAI's Responses wire: typed events with running numbers, items added, filled and done."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from agentsite.engine.deltas import Usage
from agentsite.fakemodel import openai_chat
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
from agentsite.fakemodel.strict import check_openai_responses

_ERROR_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}


def read_turn(body: dict[str, Any]) -> Turn:
    given = body.get("input")
    if isinstance(given, str):
        return Turn(given, 0)
    text, call, answering = "", 0, False
    for item in listed(given):
        if item.get("role") == "user":
            text, call, answering = join_texts(item.get("content")), 0, False
        elif item.get("type") == "function_call_output":
            answering = False
        elif not answering:
            call, answering = call + 1, True
    return Turn(text, call)


def tell_usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h
    answer = usage.output + usage.reasoning
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": prompt + answer,
    }


class Speaker:
    """Builds the events of one response; keeps their number and the finished items."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = f"resp_fake{next_number():020d}"
        self._numbers = itertools.count()
        self.output: list[dict[str, Any]] = []

    def event(self, name: str, data: dict[str, Any]) -> bytes:
        payload = {"type": name, "sequence_number": next(self._numbers), **data}
        return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(payload))

    def response(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": openai_chat.CREATED,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self._model,
            "output": list(self.output),
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
            **more,
        }

    def item(
        self, item: dict[str, Any], inner: list[tuple[str, dict[str, Any], bool]], done: Any
    ) -> Iterator[tuple[bytes, bool]]:
        """Yield an output item: added, its inner events, done (as `done`)."""
        place = {"output_index": len(self.output)}
        yield self.event("response.output_item.added", {**place, "item": item}), False
        for name, data, is_delta in inner:
            yield self.event(name, {"item_id": item["id"], **place, **data}), is_delta
        self.output.append(done)
        yield self.event("response.output_item.done", {**place, "item": done}), False


def build(plan: Plan, model: str, size: int) -> Frames:
    return fold_frames(say(plan, model, plan_usage(plan, size)))


def say(plan: Plan, model: str, usage: Usage) -> Iterator[tuple[bytes, bool]]:
    speaker = Speaker(model)
    for name in ("response.created", "response.in_progress"):
        yield speaker.event(name, {"response": speaker.response("in_progress")}), False
    if plan.thinking is not None:
        yield from reason(speaker, plan.thinking, plan.chars)
    pieces = plan.pieces()
    if pieces:
        yield from write(speaker, pieces)
    for name, arguments in plan.calls():
        yield from call(speaker, name, arguments, plan.chars)
    yield finish(speaker, plan, usage), False


def finish(speaker: Speaker, plan: Plan, usage: Usage) -> bytes:
    reasons = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}
    told = tell_usage(usage)
    reason = reasons.get(plan.stop_reason())
    if reason is None:
        done = speaker.response("completed", usage=told)
        return speaker.event("response.completed", {"response": done})
    cut = speaker.response("incomplete", usage=told, incomplete_details={"reason": reason})
    return speaker.event("response.incomplete", {"response": cut})


def reason(speaker: Speaker, text: str, chars: int) -> Iterator[tuple[bytes, bool]]:
    item = {"id": f"rs_fake{next_number():020d}", "type": "reasoning", "summary": []}
    at = {"summary_index": 0}
    stem = "response.reasoning_summary"
    part = {"type": "summary_text", "text": ""}
    inner: list[tuple[str, dict[str, Any], bool]] = [
        (f"{stem}_part.added", at | {"part": part}, False)
    ]
    inner += [(f"{stem}_text.delta", at | {"delta": p}, True) for p in cut_pieces(text, chars)]
    whole = {"type": "summary_text", "text": text}
    inner.append((f"{stem}_text.done", at | {"text": text}, False))
    inner.append((f"{stem}_part.done", at | {"part": whole}, False))
    done = {**item, "summary": [whole], "encrypted_content": f"gAAAAfake{next_number():012d}"}
    yield from speaker.item(item, inner, done)


def write(speaker: Speaker, pieces: list[str]) -> Iterator[tuple[bytes, bool]]:
    item = {
        "id": f"msg_fake{next_number():020d}",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    at = {"content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    inner: list[tuple[str, dict[str, Any], bool]] = [
        ("response.content_part.added", at | {"part": part}, False)
    ]
    inner += [
        ("response.output_text.delta", at | {"delta": piece, "logprobs": []}, True)
        for piece in pieces
    ]
    text = "".join(pieces)
    whole = part | {"text": text}
    inner.append(("response.output_text.done", at | {"text": text, "logprobs": []}, False))
    inner.append(("response.content_part.done", at | {"part": whole}, False))
    yield from speaker.item(item, inner, item | {"status": "completed", "content": [whole]})


def call(speaker: Speaker, name: str, arguments: str, chars: int) -> Iterator[tuple[bytes, bool]]:
    item = {
        "id": f"fc_fake{next_number():020d}",
        "type": "function_call",
        "status": "in_progress",
        "call_id": f"call_fake{next_number():020d}",
        "name": name,
        "arguments": "",
    }
    stem = "response.function_call_arguments"
    inner: list[tuple[str, dict[str, Any], bool]] = [
        (f"{stem}.delta", {"delta": piece}, True) for piece in cut_pieces(arguments, chars)
    ]
    inner.append((f"{stem}.done", {"arguments": arguments}, False))
    yield from speaker.item(item, inner, item | {"status": "completed", "arguments": arguments})


def error_event(error: PlannedError) -> bytes:
    code = error.type or _ERROR_CODES.get(error.status, "server_error")
    told = {"sequence_number": 0, "code": code, "message": error.message, "param": None}
    return b"event: error\ndata: %s\n\n" % encode({"type": "error", **told})


WIRE = Wire(
    "openai_responses", read_turn, build, openai_chat.refuse, error_event, check_openai_responses
)
