"""Google's stream: whole chunks of a response, decoded straight into structs, as deltas."""

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
from agentsite.engine.ports import ErrorKind
from agentsite.providers.base import ProviderError, classify, read_error_body, text_of
from agentsite.providers.wire import Decoder

PROVIDER = "google"
_REASONS: dict[str, StopReason] = {
    "STOP": "end",
    "FINISH_REASON_UNSPECIFIED": "end",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
}
_FAILURES: dict[str, tuple[ErrorKind, str]] = {
    "MALFORMED_FUNCTION_CALL": ("server", "the model wrote a function call that is not valid"),
    "UNEXPECTED_TOOL_CALL": ("server", "the model called a function that was not declared"),
    "TOO_MANY_TOOL_CALLS": ("server", "the model made too many function calls at once"),
    "MALFORMED_RESPONSE": ("server", "the model's response was malformed"),
    "MISSING_THOUGHT_SIGNATURE": ("bad_request", "a function call lacks its thought signature"),
    "PUP_LIMITED_DISABLED": ("auth", "the account is limited by Google's use policy"),
}


class _Call(msgspec.Struct):
    name: str = ""
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: _Usage | None = None
    prompt_feedback: _Feedback | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class GoogleDecoder(Decoder):
    """The answer of one call. Nothing marks its end but the finish reason and the end of bytes."""

    def __init__(self, provider: str, model: str) -> None:
        super().__init__(provider, model)
        self._called = 0
        self._usage: Usage | None = None

    def finish(self) -> tuple[Delta, ...]:
        bare = self._events.rest.strip()
        if bare.startswith((b"{", b"[")):
            # An error in the middle of a stream comes as plain JSON, not as an event.
            self.feed(b"\n\ndata: " + bare.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n\n")
        return super().finish()

    def read_event(self, payload: bytes, out: list[Delta]) -> None:
        chunk = _decode(payload)
        if chunk.error:
            self._fail(chunk.error)
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._reason = "refusal"
        for candidate in (chunk.candidates or ())[:1]:
            for part in (candidate.content and candidate.content.parts) or ():
                self._read_part(part, out)
            if candidate.finish_reason is not None:
                self._read_reason(candidate.finish_reason)
        if chunk.usage_metadata is not None:
            self._count(chunk.usage_metadata, out)

    def _read_part(self, part: _Part, out: list[Delta]) -> None:
        signature = part.thought_signature
        if part.function_call is not None:
            self._read_call(part.function_call, signature, out)
            return
        if part.text:
            out.append(ThinkingDelta(part.text) if part.thought else TextDelta(part.text))
        if signature:
            out.append(ThinkingDelta("", {"thought_signature": signature}))

    def _read_call(self, call: _Call, signature: str | None, out: list[Delta]) -> None:
        key = str(self._called)
        self._called += 1
        data = {"id": call.id} if call.id else {}
        if signature:
            data["thought_signature"] = signature
        out.append(ToolCallStarted(key, call.name, data))
        out.append(ToolCallArgs(key, bytes(call.args).decode()))

    def _read_reason(self, told: str) -> None:
        if told in _FAILURES:
            raise self.error(*_FAILURES[told])
        reason = _REASONS.get(told, "refusal")
        self._reason = "tool_calls" if reason == "end" and self._called else reason

    def _count(self, told: _Usage, out: list[Delta]) -> None:
        """Report usage at the beginning and from the finish on; every chunk repeats it."""
        cached = told.cached_content_token_count or 0
        prompt = (told.prompt_token_count or 0) + (told.tool_use_prompt_token_count or 0)
        usage = Usage(
            input=max(0, prompt - cached),
            cache_read=cached,
            output=told.candidates_token_count or 0,
            reasoning=told.thoughts_token_count or 0,
        )
        if self._usage is None or self._reason is not None:
            out.append(UsageReported(usage))
        self._usage = usage

    def _fail(self, body: Any) -> None:
        told = read_error_body({"error": body})
        code = told.get("code")
        status = code if isinstance(code, int) else None
        message = text_of(told.get("message")) or "an error without a message"
        kind = classify(status, message, text_of(told.get("status")))
        wait = read_retry_info(told)
        raise ProviderError(kind, message, self._provider, self._model, status, wait)


def read_retry_info(body: dict[str, Any]) -> float | None:
    """Return the seconds of a `RetryInfo` among an error's details."""
    details = body.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                return None
    return None
