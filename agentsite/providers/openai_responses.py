"""OpenAI's Responses API, stateless: nothing is stored there, reasoning goes back encrypted."""

from __future__ import annotations

from typing import Any

import msgspec

from agentsite.engine.deltas import (
    Delta,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolCallArgs,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from agentsite.engine.messages import (
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import classify, read_error_body, text_of
from agentsite.providers.history import (
    NO_TEXT,
    arguments_text,
    call_ids,
    data_url,
    echo_of,
    plain_text,
)
from agentsite.providers.openai_address import PROVIDER, effort_of, is_openai, origin_of, reasons
from agentsite.providers.wire import Decoder

Item = dict[str, Any]


def to_request(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    """Return the body of `POST /responses`."""
    origin = origin_of(config)
    ids = call_ids(request.messages, PROVIDER, origin, longest=64)
    body: dict[str, Any] = {
        "model": config.model,
        "input": [item for m in request.messages for item in to_items(m, ids, origin)],
        "store": False,
        "stream": True,
    }
    if is_openai(config):
        body["stream_options"] = {"include_obfuscation": False}
    if request.system:
        body["instructions"] = request.system
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": {"type": "object", "properties": {}} | tool.parameters,
                "strict": False,
            }
            for tool in request.tools
        ]
    if request.session_id:
        body["prompt_cache_key"] = request.session_id[:64]
    return body | to_limits(request, config)


def to_limits(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    most = request.max_tokens or config.max_tokens
    if most:
        limits["max_output_tokens"] = most
    temperature = request.temperature if request.temperature is not None else config.temperature
    if temperature is not None:
        limits["temperature"] = temperature
    if reasons(config.model):
        limits["include"] = ["reasoning.encrypted_content"]
        budget = request.thinking if request.thinking is not None else config.thinking
        if budget:
            limits["reasoning"] = {"effort": effort_of(budget), "summary": "auto"}
    return limits


def to_items(message: Message, ids: dict[str, str], origin: str) -> list[Item]:
    if message.role == "assistant":
        return to_answer(message, ids, origin)
    if message.role == "tool":
        return [to_output(result, ids) for result in message.tool_results]
    content: list[Item] = []
    for part in message.parts:
        if isinstance(part, TextPart) and part.text:
            content.append({"type": "input_text", "text": part.text})
        elif isinstance(part, ImagePart):
            content.append(to_image(part))
    return [{"role": "user", "content": content or [{"type": "input_text", "text": NO_TEXT}]}]


def to_image(part: ImagePart) -> Item:
    return {"type": "input_image", "detail": "auto", "image_url": data_url(part)}


def to_answer(message: Message, ids: dict[str, str], origin: str) -> list[Item]:
    """Return an answer's items; reasoning that led to nothing that is left stays out."""
    items: list[Item] = []
    for part in message.parts:
        if isinstance(part, ThinkingPart):
            items += to_reasoning(part, origin)
        elif isinstance(part, TextPart) and part.text:
            if items and items[-1].get("role") == "assistant":
                items[-1]["content"] += part.text
            else:
                items.append({"role": "assistant", "content": part.text})
        elif isinstance(part, ToolCallPart):
            items.append(
                {
                    "type": "function_call",
                    "call_id": ids[part.id],
                    "name": part.name,
                    "arguments": arguments_text(part),
                }
            )
    while items and items[-1].get("type") == "reasoning":
        items.pop()
    return items


def to_reasoning(part: ThinkingPart, origin: str) -> list[Item]:
    echo = echo_of(part, PROVIDER, origin)
    if "encrypted_content" not in echo:
        return []
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    sealed = echo["encrypted_content"]
    item = {"type": "reasoning", "id": echo.get("id", ""), "summary": summary}
    return [item | {"encrypted_content": sealed}]


def to_output(result: ToolResultPart, ids: dict[str, str]) -> Item:
    output: str | list[Item] = plain_text(result.content)
    if any(isinstance(part, ImagePart) for part in result.content):
        output = [
            to_image(part)
            if isinstance(part, ImagePart)
            else {"type": "input_text", "text": part.text}
            for part in result.content
            if isinstance(part, ImagePart) or part.text
        ]
    call_id = ids.get(result.call_id, result.call_id)
    return {"type": "function_call_output", "call_id": call_id, "output": output}


class _Item(msgspec.Struct):
    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    encrypted_content: str | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    output_index: int = 0
    summary_index: int = 0
    item: _Item | None = None
    response: _Response | None = None
    code: str | None = None
    message: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class ResponsesDecoder(Decoder):
    """The answer of one call, item by item."""

    def __init__(self, provider: str, model: str, origin: str = PROVIDER) -> None:
        super().__init__(provider, model)
        self._origin = origin
        self._open_calls: set[int] = set()
        """Calls of which no argument has come yet."""
        self._calls: set[int] = set()
        self._refused = False

    def read_event(self, payload: bytes, out: list[Delta]) -> None:
        if payload.strip() == b"[DONE]":
            return
        event = _decode(payload)
        kind = event.type
        if kind == "response.output_text.delta":
            out.append(TextDelta(event.delta))
        elif kind == "response.function_call_arguments.delta":
            if event.delta and event.output_index in self._calls:
                self._open_calls.discard(event.output_index)
                out.append(ToolCallArgs(str(event.output_index), event.delta))
        elif kind in _THOUGHTS:
            out.append(ThinkingDelta(event.delta))
        elif kind in _ENDS:
            self._read_end(kind, event.response or _Response(), out)
        elif kind == "error":
            body = event.error or {"message": event.message, "code": event.code}
            self._fail(body)
        else:
            self._read_item(event, out)

    def _read_item(self, event: _Event, out: list[Delta]) -> None:
        if event.type == "response.reasoning_summary_part.added" and event.summary_index:
            out.append(ThinkingDelta("\n\n"))
        elif event.type == "response.refusal.delta":
            self._refused = True
            out.append(TextDelta(event.delta))
        elif event.item is not None and event.type == "response.output_item.added":
            if event.item.type == "function_call":
                self._start_call(event.output_index, event.item, out)
        elif event.item is not None and event.type == "response.output_item.done":
            self._end_item(event.output_index, event.item, out)

    def _start_call(self, index: int, item: _Item, out: list[Delta]) -> None:
        self._calls.add(index)
        self._open_calls.add(index)
        data = {"id": item.call_id, "origin": self._origin} if item.call_id else {}
        out.append(ToolCallStarted(str(index), item.name or "", data))

    def _end_item(self, index: int, item: _Item, out: list[Delta]) -> None:
        if item.type == "function_call" and index in self._open_calls:
            self._open_calls.discard(index)
            if item.arguments:
                out.append(ToolCallArgs(str(index), item.arguments))
        elif item.type == "reasoning" and item.encrypted_content:
            sealed = {"id": item.id, "encrypted_content": item.encrypted_content}
            out.append(ThinkingDelta("", sealed | {"origin": self._origin}))

    def _read_end(self, kind: str, response: _Response, out: list[Delta]) -> None:
        if response.usage is not None:
            out.append(UsageReported(count(response.usage)))
        if kind == "response.failed":
            self._fail(response.error)
        self._reason = self._reason_of(kind, response.incomplete_details)
        self.end(out)

    def _reason_of(self, kind: str, cut: _Incomplete | None) -> StopReason:
        if kind == "response.incomplete":
            filtered = cut is not None and cut.reason == "content_filter"
            return "refusal" if filtered else "max_tokens"
        if self._refused:
            return "refusal"
        return "tool_calls" if self._calls else "end"

    def _fail(self, body: Any) -> None:
        told = read_error_body({"error": body})
        message = text_of(told.get("message")) or "the response failed without a message"
        kinds = (text_of(told.get("code")), text_of(told.get("type")))
        raise self.error(classify(None, message, *kinds), message)


def count(told: _Usage) -> Usage:
    """Return disjoint classes; cached and written tokens are within the input."""
    details = told.input_tokens_details or _InputDetails()
    read, written = details.cached_tokens or 0, details.cache_write_tokens or 0
    reasoning = (told.output_tokens_details or _OutputDetails()).reasoning_tokens or 0
    return Usage(
        input=max(0, told.input_tokens - read - written),
        cache_read=read,
        cache_write=written,
        output=max(0, told.output_tokens - reasoning),
        reasoning=reasoning,
    )
