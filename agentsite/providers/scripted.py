"""The `scripted` provider: plays the replies of `scripts/*.json`, for demos, tests and evals.

It looks at the request alone, so any process gives the same answer to the same request.
Usage is what the script says, else an estimate of four characters per token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

import msgspec

from agentsite.engine.deltas import (
    Delta,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolCallArgs,
    ToolCallStarted,
    Usage,
    UsageReported,
)
from agentsite.engine.messages import TextPart
from agentsite.engine.ports import ModelRequest
from agentsite.manifest.models import ModelConfig
from agentsite.manifest.scripts import Reply, Script, ScriptedCall, join_scripts
from agentsite.providers.base import ProviderError
from agentsite.providers.history import newest_user

PROVIDER = "scripted"
_CHUNK = 12
_CHARS_PER_TOKEN = 4
_BATCH = 8
"""Deltas per batch when nothing paces the reply."""
_SILENT = Reply(text="There is no script in this agent: add one under scripts/.")


class ScriptedModel:
    """The scripts of an agent as a model; see `agentsite.engine.ports.Model`."""

    provider = PROVIDER

    def __init__(self, config: ModelConfig, scripts: Mapping[str, Script]) -> None:
        self.name = config.model
        self.limit_key = f"{PROVIDER}:{config.model}"
        self._script = join_scripts(scripts.values(), config.model)

    def lease(self) -> AbstractAsyncContextManager[None]:
        """Nothing: it reads what it holds."""
        return nullcontext()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...]]:
        """Yield batches of deltas, `Stopped` last. Raises the ProviderError a reply scripts."""
        reply = choose_reply(self._script, request)
        deltas = list(play(reply))
        size = 1 if reply.delay_ms else _BATCH
        error = reply.error
        failing = error is not None and error.after_chars is None
        for at in range(0, 0 if failing else len(deltas), size):
            if reply.delay_ms and at:
                await asyncio.sleep(reply.delay_ms / 1000)
            yield tuple(deltas[at : at + size])
        if error is not None:
            raise ProviderError(error.kind, error.message, PROVIDER, self.name)
        usage = UsageReported(count(reply, request))
        yield (usage, Stopped("tool_calls" if reply.tool_calls else "end"))


def choose_reply(script: Script | None, request: ModelRequest) -> Reply:
    """Return the reply to a request; without any script a sentence that says so."""
    if script is None:
        return _SILENT
    messages = request.messages
    newest = newest_user(messages)
    since = messages[newest + 1 :]
    turn = sum(1 for message in since if message.role == "assistant")
    results = [result for message in since for result in message.tool_results]
    user = messages[newest].text if newest >= 0 else ""
    return script.choose(user, turn, results[-1].name if results else None)


def play(reply: Reply) -> Iterator[Delta]:
    """Yield the content of a reply, cut where its error strikes."""
    size = reply.chunk or _CHUNK
    text = reply.text
    cut = reply.error.after_chars if reply.error is not None else None
    if cut is not None:
        text = text[:cut]
    for piece in cut_pieces(reply.thinking, size):
        yield ThinkingDelta(piece)
    for piece in cut_pieces(text, size):
        yield TextDelta(piece)
    if cut is None:
        for index, call in enumerate(reply.tool_calls):
            yield ToolCallStarted(str(index), call.name)
            for piece in cut_pieces(write_arguments(call), size):
                yield ToolCallArgs(str(index), piece)


def cut_pieces(text: str, size: int) -> Iterator[str]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


def write_arguments(call: ScriptedCall) -> str:
    """Return the argument text: JSON, or the broken text that a script sends on purpose."""
    given = call.arguments
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()


def count(reply: Reply, request: ModelRequest) -> Usage:
    """Return the scripted usage, or an estimate from the lengths of request and reply."""
    told = reply.usage
    if told is not None:
        return Usage(
            input=told.input,
            cache_read=told.cache_read,
            cache_write=told.cache_write,
            output=told.output,
            reasoning=told.reasoning,
        )
    said = sum(len(call.name) + len(write_arguments(call)) for call in reply.tool_calls)
    return Usage(
        input=max(1, length_of(request) // _CHARS_PER_TOKEN),
        output=max(1, (len(reply.text) + said) // _CHARS_PER_TOKEN),
        reasoning=len(reply.thinking) // _CHARS_PER_TOKEN,
    )


def length_of(request: ModelRequest) -> int:
    """Return the characters of a request's texts: system prompt, messages, results."""
    total = len(request.system)
    for message in request.messages:
        total += len(message.text)
        for result in message.tool_results:
            total += sum(len(part.text) for part in result.content if isinstance(part, TextPart))
    return total
