"""Anthropic's stream: its events, decoded straight into structs, as deltas."""

from __future__ import annotations

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
from agentsite.providers.base import classify
from agentsite.providers.wire import Decoder

_REASONS: dict[str, StopReason] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "pause_turn": "end",
    "tool_use": "tool_calls",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    data: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Event).decode


class AnthropicDecoder(Decoder):
    """The answer of one call. Usage is reported at its start and, final, at its end."""

    def __init__(self, provider: str, model: str) -> None:
        super().__init__(provider, model)
        self._usage = Usage()
        self._signature = ""
        self._calls: set[int] = set()
        self._bare_input: dict[int, bytes] = {}
        """What calls started with, until a fragment comes."""

    def read_event(self, payload: bytes, out: list[Delta]) -> None:
        event = _decode(payload)
        if event.type == "content_block_delta":
            if event.delta is not None:
                self._read_delta(event.index, event.delta, out)
        elif event.type == "content_block_start":
            if event.content_block is not None:
                self._start_block(event.index, event.content_block, out)
        elif event.type == "content_block_stop":
            self._end_block(event.index, out)
        else:
            self._read_frame(event, out)

    def _read_frame(self, event: _Event, out: list[Delta]) -> None:
        """What frames the blocks: start, totals, end, an error; pings and news are passed over."""
        if event.type == "message_start" and event.message is not None:
            self._count(event.message.usage, out)
        elif event.type == "message_delta":
            self._count(event.usage, out)
            if event.delta is not None and event.delta.stop_reason is not None:
                self._reason = _REASONS.get(event.delta.stop_reason, "end")
        elif event.type == "message_stop":
            self.end(out)
        elif event.type == "error":
            told = event.error or _Error()
            raise self.error(classify(None, told.message, told.type), told.message or told.type)

    def _read_delta(self, index: int, delta: _Delta, out: list[Delta]) -> None:
        if delta.type == "text_delta":
            out.append(TextDelta(delta.text))
        elif delta.type == "input_json_delta":
            # Blocks of the vendor's own tools bring arguments too; those calls are not ours.
            if delta.partial_json and index in self._calls:
                self._bare_input.pop(index, None)
                out.append(ToolCallArgs(str(index), delta.partial_json))
        elif delta.type == "thinking_delta":
            out.append(ThinkingDelta(delta.thinking))
        elif delta.type == "signature_delta":
            self._signature += delta.signature

    def _start_block(self, index: int, block: _Block, out: list[Delta]) -> None:
        if block.type == "tool_use":
            out.append(ToolCallStarted(str(index), block.name, {"id": block.id}))
            self._calls.add(index)
            self._bare_input[index] = bytes(block.input)
        elif block.type == "redacted_thinking":
            out.append(ThinkingDelta("", {"redacted": block.data}))
        elif block.type == "text" and block.text:
            out.append(TextDelta(block.text))

    def _end_block(self, index: int, out: list[Delta]) -> None:
        if self._signature:
            out.append(ThinkingDelta("", {"signature": self._signature}))
            self._signature = ""
        bare = self._bare_input.pop(index, None)
        if bare is not None:
            # No fragment came: the arguments are what the block started with.
            out.append(ToolCallArgs(str(index), bare.decode()))

    def _count(self, told: _Usage | None, out: list[Delta]) -> None:
        """Report cumulative counts; what an event leaves out keeps its earlier value."""
        if told is None:
            return
        was = self._usage
        hour = was.cache_write_1h
        if told.cache_creation is not None:
            hour = told.cache_creation.ephemeral_1h_input_tokens
        written = told.cache_creation_input_tokens
        if written is None:
            written = was.cache_write + was.cache_write_1h
        details = told.output_tokens_details
        thought = details.thinking_tokens if details is not None else None
        reasoning = was.reasoning if thought is None else thought
        total = was.output + was.reasoning if told.output_tokens is None else told.output_tokens
        self._usage = Usage(
            input=was.input if told.input_tokens is None else told.input_tokens,
            cache_read=(
                was.cache_read
                if told.cache_read_input_tokens is None
                else told.cache_read_input_tokens
            ),
            cache_write=max(0, written - hour),
            cache_write_1h=hour,
            output=max(0, total - reasoning),
            reasoning=min(reasoning, total),
        )
        out.append(UsageReported(self._usage))
