"""Anthropic's Messages API, directly or through Bedrock (a `region` with AWS credentials).

Prompt caching is always asked for: system prompt, last tool, last stable message. Thinking
blocks go back signed as they came; a tool loop that another vendor began runs without thinking.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from agentsite.engine.deltas import Delta
from agentsite.engine.messages import ImagePart, Message, Part, TextPart, ThinkingPart, ToolCallPart
from agentsite.engine.ports import ModelRequest, ToolSpec
from agentsite.manifest.models import ModelConfig
from agentsite.providers import clients
from agentsite.providers.anthropic_stream import AnthropicDecoder
from agentsite.providers.base import ProviderError
from agentsite.providers.clients import Build, Made
from agentsite.providers.history import (
    NO_TEXT,
    cache_places,
    call_ids,
    echo_of,
    require_data,
    tools_used,
)
from agentsite.providers.transport import (
    Read,
    post,
    read_slowly,
    require_key,
    stream_decoded,
    to_sdk_error,
)

PROVIDER = "anthropic"
BASE_URL = "https://api.anthropic.com"
MODULES = ("anthropic", "httpx2")
"""What its clients need."""
DEFAULT_MAX_TOKENS = 16_000
"""The field is required; from Claude 4 on it also pays for reasoning."""
OLD_MAX_TOKENS = 8192
_LEAST_BUDGET = 1024
_THINKING = ("thinking", "redacted_thinking")
_CACHED = {"type": "ephemeral"}
_VERSION = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_FIRST_ADAPTIVE = (4, 6)

Block = dict[str, Any]


class AnthropicModel:
    """One Claude model; see `agentsite.engine.ports.Model`."""

    provider = PROVIDER

    def __init__(self, config: ModelConfig) -> None:
        self.name = config.model
        self._config = config
        aws = config.credentials.aws_access_key_id
        secret = aws or config.api_key
        identity = secret.get_secret_value() if secret else None
        self._client_name = clients.digest(PROVIDER, config.base_url, config.region, identity)
        self.limit_key = f"{PROVIDER}:{self._client_name}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...]]:
        """Yield batches of deltas, `Stopped` last. Raises ProviderError."""
        decoder = AnthropicDecoder(PROVIDER, self.name)
        return stream_decoded(self._ask(request), decoder, self._config, to_error)

    def lease(self) -> AbstractAsyncContextManager[Any]:
        """The SDK's client, shared; made by the first that asks. Raises ProviderError."""
        config = self._config
        build = prepare_bedrock(config) if config.region else prepare_client(config)
        return clients.lease(self._client_name, build, MODULES)

    @asynccontextmanager
    async def _ask(self, request: ModelRequest) -> AsyncIterator[Read]:
        config = self._config
        body = to_request(request, config)
        async with self.lease() as client:
            if config.region:
                opened = open_bedrock(client, body, config.timeout)
            else:
                opened = post(client, "/v1/messages", body, config.timeout)
            async with opened as read:
                yield read


def to_error(error: Exception, config: ModelConfig) -> ProviderError:
    """Map the SDK's and the transport's errors; events inside a 200 are the decoder's."""
    return to_sdk_error(error, config)


def prepare_client(config: ModelConfig) -> Build:
    key = require_key(config)

    def make() -> Made:
        import anthropic

        client = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=config.base_url or BASE_URL,
            max_retries=0,
            http_client=anthropic.DefaultAioHttpClient(),
        )
        return client, client.close

    return partial(asyncio.to_thread, make)


def prepare_bedrock(config: ModelConfig) -> Build:
    given = config.credentials
    if given.aws_access_key_id is None or given.aws_secret_access_key is None:
        problem = "a region means Bedrock, which needs credentials.aws_access_key_id and"
        raise ProviderError("auth", f"{problem} aws_secret_access_key", PROVIDER, config.model)
    access, secret = given.aws_access_key_id, given.aws_secret_access_key
    session = given.aws_session_token

    def make() -> Made:
        import anthropic

        client = anthropic.AsyncAnthropicBedrock(
            aws_access_key=access.get_secret_value(),
            aws_secret_key=secret.get_secret_value(),
            aws_session_token=session.get_secret_value() if session else None,
            aws_region=config.region,
            base_url=config.base_url,
            max_retries=0,
            timeout=config.timeout,
            http_client=anthropic.DefaultAioHttpClient(),
        )
        return client, client.close

    return partial(asyncio.to_thread, make)


@asynccontextmanager
async def open_bedrock(client: Any, body: dict[str, Any], seconds: float) -> AsyncIterator[Read]:
    """Lend Bedrock's events in the form of the direct wire: its own framing is binary."""
    async with asyncio.timeout(seconds):
        stream = await client.messages.create(**body)

    async def frames() -> AsyncIterator[bytes]:
        async for event in stream:
            yield b"data: " + event.model_dump_json().encode() + b"\n\n"

    try:
        yield read_slowly(frames(), seconds)
    finally:
        await stream.close()


def to_request(request: ModelRequest, config: ModelConfig) -> dict[str, Any]:
    """Return the body of `POST /v1/messages`."""
    limit = request.max_tokens or config.max_tokens or default_limit(config.model)
    temperature = request.temperature if request.temperature is not None else config.temperature
    budget = request.thinking if request.thinking is not None else config.thinking
    turns = to_messages(request.messages, thinking=bool(budget))
    if budget and not may_think(turns):
        budget, turns = 0, to_messages(request.messages, thinking=False)
    body: dict[str, Any] = {"model": config.model, "max_tokens": limit, "stream": True}
    if budget:
        body |= think(config.model, budget, limit)
    elif temperature is not None:
        body["temperature"] = temperature
    if request.system:
        body["system"] = [{"type": "text", "text": request.system, "cache_control": _CACHED}]
    return body | to_tools(request) | {"messages": turns}


def version_of(model: str) -> tuple[int, int]:
    """Return major and minor version; (0, 0) for names without, as those before Claude 4."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def default_limit(model: str) -> int:
    return DEFAULT_MAX_TOKENS if version_of(model) >= (4, 0) else OLD_MAX_TOKENS


def think(model: str, budget: int, limit: int) -> dict[str, Any]:
    """Return the fields that switch reasoning on: by effort from Claude 4.6 on, else by budget."""
    if version_of(model) >= _FIRST_ADAPTIVE:
        effort = "low" if budget < 4096 else "medium" if budget < 16384 else "high"
        adaptive = {"type": "adaptive", "display": "summarized"}
        return {"thinking": adaptive, "output_config": {"effort": effort}}
    budget = max(budget, _LEAST_BUDGET)
    enough = limit if limit > budget else limit + budget
    return {"thinking": {"type": "enabled", "budget_tokens": budget}, "max_tokens": enough}


def may_think(turns: list[dict[str, Any]]) -> bool:
    """Tell whether reasoning may be on: an open tool loop must have begun with a signed block.

    One that did not (another vendor answered, reasoning was off) has to end as it began.
    """
    loop: list[Block] = []
    for turn in reversed(turns):
        results = any(block["type"] == "tool_result" for block in turn["content"])
        if turn["role"] == "user" and not results:
            break
        if turn["role"] == "assistant":
            loop = turn["content"]
    return not loop or loop[0]["type"] in _THINKING


def to_tools(request: ModelRequest) -> dict[str, Any]:
    """Return tools (the last one cached); calls in the history need declarations to be accepted."""
    tools = [to_tool(tool) for tool in request.tools]
    if tools:
        tools[-1]["cache_control"] = _CACHED
        return {"tools": tools}
    names = tools_used(request.messages)
    if not names:
        return {}
    stubs = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    return {"tools": stubs, "tool_choice": {"type": "none"}}


def to_tool(tool: ToolSpec) -> dict[str, Any]:
    schema = {"type": "object"} | tool.parameters
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def to_messages(messages: tuple[Message, ...], *, thinking: bool) -> list[dict[str, Any]]:
    """Return the history with alternating roles and its cache breakpoints."""
    ids = call_ids(messages, PROVIDER, PROVIDER, longest=64)
    places = cache_places(messages)
    turns: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        if at - 1 in places and turns:
            turns[-1]["content"][-1]["cache_control"] = _CACHED
        role = "assistant" if message.role == "assistant" else "user"
        blocks = to_blocks(message, ids, thinking)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if len(messages) - 1 in places and turns:
        turns[-1]["content"][-1]["cache_control"] = _CACHED
    return turns


def to_blocks(message: Message, ids: dict[str, str], thinking: bool) -> list[Block]:
    if message.role == "tool":
        return [to_result(part, ids) for part in message.tool_results]
    blocks: list[Block] = []
    for part in message.parts:
        block = to_block(part, ids, thinking)
        if block is not None:
            blocks.append(block)
    if message.role == "assistant":
        while blocks and blocks[-1]["type"] in _THINKING:
            blocks.pop()
        return blocks
    return blocks or [{"type": "text", "text": NO_TEXT}]


def to_block(part: Part, ids: dict[str, str], thinking: bool) -> Block | None:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text} if part.text.strip() else None
    if isinstance(part, ImagePart):
        return to_image(part)
    if isinstance(part, ThinkingPart):
        return to_thinking(part) if thinking else None
    if isinstance(part, ToolCallPart):
        return {
            "type": "tool_use",
            "id": ids[part.id],
            "name": part.name,
            "input": part.arguments,
        }
    return to_result(part, ids)


def to_thinking(part: ThinkingPart) -> Block | None:
    echo = echo_of(part, PROVIDER, PROVIDER)
    if "redacted" in echo:
        return {"type": "redacted_thinking", "data": echo["redacted"]}
    if "signature" in echo:
        return {"type": "thinking", "thinking": part.text, "signature": echo["signature"]}
    return None


def to_image(part: ImagePart) -> Block:
    if part.url is not None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    source = {"type": "base64", "media_type": part.media_type, "data": require_data(part)}
    return {"type": "image", "source": source}


def to_result(part: Any, ids: dict[str, str]) -> Block:
    content = [
        to_image(inner) if isinstance(inner, ImagePart) else {"type": "text", "text": inner.text}
        for inner in part.content
        if isinstance(inner, ImagePart) or inner.text.strip()
    ]
    block: Block = {"type": "tool_result", "tool_use_id": ids.get(part.call_id, part.call_id)}
    if content:
        block["content"] = content
    if part.status != "ok":
        block["is_error"] = True
    return block
