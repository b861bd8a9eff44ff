"""The raw byte stream of an SDK client's POST (anthropic and openai share their machinery).

Over the SDK's aiohttp transport this costs about 25 us a read, where the SDK's own event
objects cost 75 to 100. The body is encoded here, once, past the SDK's typed re-walk of it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import msgspec

from agentsite.engine.deltas import Delta
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import (
    ProviderError,
    classify,
    read_error_body,
    read_retry_after,
    text_of,
)
from agentsite.providers.wire import Decoder, read_batches

_CONNECT_SECONDS = 10.0
_VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GOOGLE_API_KEY or GEMINI_API_KEY",
}
_FAILURES = {
    "httpx2": ("HTTPError", "StreamError", "InvalidURL"),
    "aiohttp": ("ClientError",),
    "anthropic": ("AnthropicError",),
    "openai": ("OpenAIError",),
    "google.genai.errors": ("APIError", "UnknownApiResponseError"),
    "google.auth.exceptions": ("GoogleAuthError",),
}


def require_key(config: ModelConfig) -> str:
    """Return the key of a model; ProviderError `auth` when it has none.

    A server of one's own (`baseUrl`) needs none: it is sent a word that is not a secret.
    """
    if config.api_key is not None:
        return config.api_key.get_secret_value()
    if config.base_url is not None:
        return "none"
    raise ProviderError(
        "auth",
        f"there is no API key for {config.provider}: set {_VARIABLES[config.provider]},"
        " or credentials.api_key of this model",
        config.provider,
        config.model,
    )


@asynccontextmanager
async def post(
    client: Any, path: str, body: dict[str, Any], seconds: float
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Send `body` and lend the bytes that come back, as the network brings them.

    `seconds` limits the wait for the first byte and for every further one. Leaving closes
    the response. Raises the SDK's errors for statuses from 400 on, and its transport's.
    """
    import httpx2

    limits = httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
    response = await client.post(
        path,
        cast_to=httpx2.Response,
        content=msgspec.json.encode(body),
        options={
            # Compression would only delay deltas, and raw reads are the cheap ones.
            "headers": {"Accept-Encoding": "identity", "Content-Type": "application/json"},
            "timeout": limits,
        },
        stream=True,
    )
    try:
        encoding = response.headers.get("content-encoding", "identity")
        yield response.aiter_raw() if encoding == "identity" else response.aiter_bytes()
    finally:
        await response.aclose()


async def stream_decoded(
    opened: AbstractAsyncContextManager[AsyncIterator[bytes]],
    decoder: Decoder,
    config: ModelConfig,
    to_error: Callable[[Exception, ModelConfig], ProviderError],
) -> AsyncGenerator[tuple[Delta, ...]]:
    """Yield the batches of one response; the vendor's failures leave as ProviderError.

    Once the answer is complete, a failure of the connection does not matter any more.
    """
    try:
        async with opened as chunks, aclosing(read_batches(chunks, decoder)) as batches:
            async for batch in batches:
                yield batch
    except failures() as error:
        if not decoder.stopped:
            raise to_error(error, config) from error


def failures() -> tuple[type[Exception], ...]:
    """Return what the SDKs and their transports raise, of those that are loaded."""
    known: list[type[Exception]] = [OSError]
    for module, names in _FAILURES.items():
        loaded = sys.modules.get(module)
        if loaded is not None:
            known += [getattr(loaded, name) for name in names]
    return tuple(known)


def to_sdk_error(error: Exception, config: ModelConfig) -> ProviderError:
    """Map what the anthropic and openai SDKs, httpx2 and asyncio raise."""
    import httpx2

    status = getattr(error, "status_code", None)
    if isinstance(error, httpx2.TimeoutException | TimeoutError) or is_named(
        error, "APITimeoutError"
    ):
        return silence_error(config)
    body = read_error_body(getattr(error, "body", None))
    message = text_of(body.get("message")) or str(error) or type(error).__name__
    response = getattr(error, "response", None)
    return ProviderError(
        classify(status, message, text_of(body.get("code")), text_of(body.get("type"))),
        message,
        config.provider,
        config.model,
        status,
        read_retry_after(response.headers) if response is not None else None,
    )


def silence_error(config: ModelConfig) -> ProviderError:
    return ProviderError(
        "timeout",
        f"nothing was heard for {config.timeout:g} seconds",
        config.provider,
        config.model,
    )


def is_named(error: Exception, name: str) -> bool:
    """Tell an SDK's error by name, so that an SDK that is not in use need not be imported."""
    return any(cls.__name__ == name for cls in type(error).__mro__)
