"""The raw byte stream of an SDK client's POST (anthropic and openai share their machinery).

Read below the SDK's own layers this costs about 20 us a read, where its event objects over
its default transport cost 75 to 100. The body is encoded here, past the SDK's typed re-walk.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, cast

import msgspec

from agentsite.engine.deltas import Delta
from agentsite.engine.ports import ErrorKind
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import (
    ProviderError,
    classify,
    read_error_body,
    read_retry_after,
    text_of,
)
from agentsite.providers.shortcut import RefusedError, find_route, post_again, remember_route
from agentsite.providers.wire import Decoder

_CONNECT_SECONDS = 10.0
_LARGEST_READ = 16 * 1024
"""Bytes, about a hundred deltas: one batch never keeps the event loop for long."""
_TAIL_SECONDS = 1.0
"""How long a response may take to end once its answer is complete."""
_VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GOOGLE_API_KEY or GEMINI_API_KEY",
}
Read = Callable[[], Awaitable[bytes]]
"""Returns the next bytes of a response, none at its end."""
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


class SilenceGuard:
    """Reads an aiohttp body as the network brings it, and raises TimeoutError on silence.

    One timer a stream, looked at when it runs out: a timer set anew for every read, as
    aiohttp's own limit does it, costs a tenth of the whole reading.
    """

    __slots__ = ("_content", "_left", "_loop", "_seconds", "_since", "_timer", "_waiting")

    def __init__(self, content: Any, seconds: float) -> None:
        self._content = content
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._waiting = False
        self._left = b""
        self._timer = self._loop.call_later(seconds, self._look)

    async def read(self) -> bytes:
        """Return what has arrived, up to 16 KB, waiting for a byte; empty at the end."""
        chunk: bytes
        if self._left:
            chunk, self._left = self._left[:_LARGEST_READ], self._left[_LARGEST_READ:]
            return chunk
        self._since = self._loop.time()
        self._waiting = True
        try:
            chunk = await self._content.readany()
        finally:
            self._waiting = False
        if len(chunk) > _LARGEST_READ:
            self._left = chunk[_LARGEST_READ:]
            return chunk[:_LARGEST_READ]
        return chunk

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        heard = self._since if self._waiting else self._loop.time()
        left = heard + self._seconds - self._loop.time()
        if left <= 0:
            self._content.set_exception(TimeoutError())
        else:
            self._timer = self._loop.call_later(left, self._look)


@asynccontextmanager
async def post(client: Any, path: str, body: dict[str, Any], seconds: float) -> AsyncIterator[Read]:
    """Send `body` and lend the function that reads what comes back.

    `seconds` limits the wait for the first byte and for every further one. Leaving closes
    the response. Raises the SDK's errors for statuses from 400 on, and its transport's.
    """
    data, connect = msgspec.json.encode(body), min(seconds, _CONNECT_SECONDS)
    async with AsyncExitStack() as stack:
        route = find_route(client, path)
        async with asyncio.timeout(seconds):
            if route is not None:
                content = (
                    await stack.enter_async_context(post_again(route, data, connect))
                ).content
            else:
                response = await _post_by_sdk(client, path, data, connect)
                stack.push_async_callback(response.aclose)
                remember_route(client, path, response)
                content = find_aiohttp_content(response)
        if content is None:
            yield read_slowly(response.aiter_bytes(), seconds)
            return
        guard = SilenceGuard(content, seconds)
        stack.callback(guard.stop)
        yield guard.read


async def _post_by_sdk(client: Any, path: str, data: bytes, connect: float) -> Any:
    import httpx2

    return await client.post(
        path,
        cast_to=httpx2.Response,
        content=data,
        options={
            # Compression would only delay deltas, and raw reads are the cheap ones.
            "headers": {"Accept-Encoding": "identity", "Content-Type": "application/json"},
            "timeout": httpx2.Timeout(None, connect=connect),
        },
        stream=True,
    )


def find_aiohttp_content(response: Any) -> Any:
    """Return the aiohttp body under an SDK's response, None when it must be read the long way.

    Five generators lie between the two, which cost as much as reading itself. A compressed
    body, a proxy or another transport take the long way.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        return None
    stream = getattr(response.stream, "_stream", None)
    return getattr(getattr(stream, "_aiohttp_response", None), "content", None)


def read_slowly(chunks: AsyncIterator[bytes], seconds: float) -> Read:
    """Return a read function over any iterator of chunks, with the same limit on silence."""

    async def read() -> bytes:
        async with asyncio.timeout(seconds):
            return await anext(chunks, b"")

    return read


async def stream_decoded(
    opened: AbstractAsyncContextManager[Read],
    decoder: Decoder,
    config: ModelConfig,
    to_error: Callable[[Exception, ModelConfig], ProviderError],
) -> AsyncGenerator[tuple[Delta, ...]]:
    """Yield one batch per read that brought deltas; every failure leaves as ProviderError.

    What arrived before a failure is handed out first. Once the answer is complete the rest is
    read, so that the connection can be used again, and a failure does not matter any more.
    """
    try:
        async with opened as read:
            while not decoder.stopped:
                chunk = await read()
                batch = decoder.feed(chunk) if chunk else decoder.finish()
                if batch:
                    yield batch
                    decoder.raise_pending()
            async with asyncio.timeout(_TAIL_SECONDS):
                while await read():
                    pass
    except failures() as error:
        if not decoder.stopped:
            raise to_error(error, config) from error


def failures() -> tuple[type[Exception], ...]:
    """Return what the SDKs and their transports raise, of those that are loaded."""
    known: list[type[Exception]] = [OSError, RefusedError]
    for module, names in _FAILURES.items():
        loaded = sys.modules.get(module)
        if loaded is not None:
            known += [getattr(loaded, name) for name in names]
    return tuple(known)


def to_sdk_error(error: Exception, config: ModelConfig) -> ProviderError:
    """Map what the anthropic and openai SDKs and the transports under them raise."""
    status = getattr(error, "status_code", None)
    given = getattr(error, "body", None)
    if status is None and given is None:
        return to_connection_error(error, config)
    body = read_error_body(given)
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


def to_connection_error(error: BaseException, config: ModelConfig) -> ProviderError:
    """Map a failure below HTTP, by its root: the SDKs call a refused connection a timeout."""
    root = error
    while root.__cause__ is not None and not isinstance(root, TimeoutError):
        root = root.__cause__
    connecting = type(root).__name__ in ("ConnectionTimeoutError", "ConnectTimeout")
    if connecting:
        seconds = min(config.timeout, _CONNECT_SECONDS)
        kind, text = "timeout", f"connecting took longer than {seconds:g} seconds"
    elif isinstance(root, TimeoutError):
        kind, text = "timeout", f"nothing was heard for {config.timeout:g} seconds"
    else:
        kind, text = "server", f"the connection failed: {str(root) or type(root).__name__}"
    return ProviderError(cast(ErrorKind, kind), text, config.provider, config.model)
