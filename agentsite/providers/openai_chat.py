"""OpenAI's Chat Completions: request and stream, tolerant of what compatible servers do.

Parallel calls may come without an index, usage before or after the end, reasoning under two
names; `total_tokens` tells whether reasoning is counted within the completion or beside it.
"""

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
from agentsite.engine.messages import ImagePart, Message, TextPart
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import classify, read_error_body, text_of
from agentsite.providers.history import NO_TEXT, arguments_text, call_ids, data_url, plain_text
from agentsite.providers.openai_address import (
    PROVIDER,
    effort_of,
    is_mistral,
    is_openai,
    origin_of,
    reasons,
)
from agentsite.providers.wire import Decoder

_REASONS: dict[str, StopReason] = {
    "stop": "end",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


def to_request(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    """Return the body of `POST /chat/completions`."""
    body: dict[str, Any] = {
        "model": config.model,
        "messages": to_messages(request, config),
        "stream": True,
    }
    if not is_mistral(config):
        body["stream_options"] = {"include_usage": True}
    if is_openai(config):
        body["stream_options"]["include_obfuscation"] = False
        if request.session_id:
            body["prompt_cache_key"] = request.session_id[:64]
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": {"type": "object", "properties": {}} | tool.parameters,
                },
            }
            for tool in request.tools
        ]
    body |= to_limits(request, config)
    return body


def to_limits(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    most = request.max_tokens or config.max_tokens
    if most:
        limits["max_completion_tokens" if is_openai(config) else "max_tokens"] = most
    temperature = request.temperature if request.temperature is not None else config.temperature
    if temperature is not None:
        limits["temperature"] = temperature
    budget = request.thinking if request.thinking is not None else config.thinking
    if budget and (reasons(config.model) or not is_openai(config)):
        limits["reasoning_effort"] = effort_of(budget)
    return limits


def to_messages(request: ModelRequest, config: ModelConfig) -> list[dict[str, Any]]:
    """Return the history; user messages in a row become one, as many chat templates demand."""
    ids = call_ids(request.messages, PROVIDER, origin_of(config))
    turns: list[dict[str, Any]] = []
    if request.system:
        turns.append({"role": "system", "content": request.system})
    for message in request.messages:
        if message.role == "assistant":
            turns += to_assistant(message, ids)
        elif message.role == "tool":
            turns += to_results(message, ids)
        else:
            add_user(turns, to_user(message))
    return turns


def add_user(turns: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    if turns and turns[-1]["role"] == "user":
        parts = as_parts(turns.pop()["content"]) + parts
    if all(part["type"] == "text" for part in parts):
        turns.append({"role": "user", "content": "\n\n".join(part["text"] for part in parts)})
    else:
        turns.append({"role": "user", "content": parts})


def as_parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def to_user(message: Message) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart) and part.text:
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            parts.append(to_image(part))
    return parts or [{"type": "text", "text": NO_TEXT}]


def to_image(part: ImagePart) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(part)}}


def to_assistant(message: Message, ids: dict[str, str]) -> list[dict[str, Any]]:
    calls = [
        {
            "id": ids[call.id],
            "type": "function",
            "function": {"name": call.name, "arguments": arguments_text(call)},
        }
        for call in message.tool_calls
    ]
    if not calls and not message.text:
        return []
    turn: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if calls:
        turn["tool_calls"] = calls
    return [turn]


def to_results(message: Message, ids: dict[str, str]) -> list[dict[str, Any]]:
    """Return one tool message per result; its pictures follow in a user message."""
    turns: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for result in message.tool_results:
        images = [part for part in result.content if isinstance(part, ImagePart)]
        text = plain_text(result.content) or ("(see the image below)" if images else "")
        call_id = ids.get(result.call_id, result.call_id)
        turns.append({"role": "tool", "tool_call_id": call_id, "content": text})
        if images:
            pictures.append({"type": "text", "text": f"Image from {result.name}:"})
            pictures += [to_image(image) for image in images]
    if pictures:
        turns.append({"role": "user", "content": pictures})
    return turns


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChatDecoder(Decoder):
    """The answer of one call; `Stopped` waits for `[DONE]`, because usage comes after the end."""

    def __init__(self, provider: str, model: str, origin: str = PROVIDER) -> None:
        super().__init__(provider, model)
        self._origin = origin
        self._calls: dict[int, tuple[str, str | None]] = {}
        self._started = 0
        self._refused = False

    def read_event(self, payload: bytes, out: list[Delta]) -> None:
        if payload.strip() == b"[DONE]":
            self.end(out)
            return
        chunk = _decode(payload)
        if chunk.error:
            told = read_error_body({"error": chunk.error})
            message = text_of(told.get("message")) or "an error without a message"
            kinds = (text_of(told.get("code")), text_of(told.get("type")))
            raise self.error(classify(None, message, *kinds), message)
        for choice in chunk.choices or ():
            if choice.delta is not None:
                self._read_delta(choice.delta, out)
            if choice.finish_reason is not None:
                self._reason = self._read_reason(choice.finish_reason)
        if chunk.usage is not None and chunk.usage.prompt_tokens is not None:
            out.append(UsageReported(count(chunk.usage)))

    def _read_delta(self, delta: _Delta, out: list[Delta]) -> None:
        if delta.content:
            out.append(TextDelta(delta.content))
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            out.append(ThinkingDelta(thought))
        if delta.refusal:
            self._refused = True
            out.append(TextDelta(delta.refusal))
        for call in delta.tool_calls or ():
            self._read_call(call, out)

    def _read_call(self, call: _Call, out: list[Delta]) -> None:
        at = call.index if call.index is not None else max(0, self._started - 1)
        function = call.function or _Function()
        known = self._calls.get(at)
        # Some servers give every parallel call the same index; a new id is a new call.
        if known is None or (call.id and call.id != known[1]):
            known = (str(self._started), call.id)
            self._calls[at] = known
            self._started += 1
            data = {"id": call.id, "origin": self._origin} if call.id else {}
            out.append(ToolCallStarted(known[0], function.name or "", data))
        if function.arguments:
            out.append(ToolCallArgs(known[0], function.arguments))

    def _read_reason(self, told: str) -> StopReason:
        reason = _REASONS.get(told, "end")
        if self._refused:
            return "refusal"
        return "tool_calls" if reason == "end" and self._started else reason


def count(told: _Usage) -> Usage:
    """Return disjoint classes; cached and written tokens are within the prompt."""
    prompt = told.prompt_tokens_details or _PromptDetails()
    details = told.completion_tokens_details or _CompletionDetails()
    read = prompt.cached_tokens or told.prompt_cache_hit_tokens or 0
    written = prompt.cache_write_tokens or 0
    total_in, answer = told.prompt_tokens or 0, told.completion_tokens or 0
    reasoning = details.reasoning_tokens or 0
    beside = told.total_tokens == total_in + answer + reasoning
    return Usage(
        input=max(0, total_in - read - written),
        cache_read=read,
        cache_write=written,
        output=answer if beside else max(0, answer - reasoning),
        reasoning=reasoning,
    )
