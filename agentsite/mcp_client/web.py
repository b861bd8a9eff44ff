"""A server that is an address: streamable HTTP, or the older SSE.

Law: every request goes through the transport that the caller gives (the guarded one); answers
have a greatest size, and none is unpacked.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from agentsite.mcp_client.endpoint import Endpoint

LARGEST_ANSWER = 16 * 1024 * 1024
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 3_600.0
"""A stream may be silent that long; calls have their own time."""
MakeTransport = Callable[[str], httpx2.AsyncBaseTransport]
"""Makes the transport for requests to this address, which an operator's file names."""


@contextlib.asynccontextmanager
async def reach_server(
    endpoint: Endpoint, make_transport: MakeTransport, note: Callable[[int], None]
) -> AsyncIterator[Any]:
    """Yield the two streams of the SDK. `note` is told of each status from 400 on."""

    async def look(response: httpx2.Response) -> None:
        if response.status_code >= 400:
            note(response.status_code)

    def make_client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        # The SDK's own times are not ours: calls have theirs.
        return httpx2.AsyncClient(
            transport=_Bounded(make_transport(endpoint.url)),
            trust_env=False,
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=SILENCE_SECONDS),
            headers={"Accept-Encoding": "identity", **dict(endpoint.headers), **(headers or {})},
            event_hooks={"response": [look]},
        )

    if endpoint.transport == "sse":
        sse = sse_client(endpoint.url, httpx_client_factory=make_client)
        async with sse as streams:
            yield streams
        return
    async with (
        make_client() as client,
        streamable_http_client(
            endpoint.url, http_client=client, max_sse_event_size=LARGEST_ANSWER
        ) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncBaseTransport):
    """Limits what one answer may hold."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("The answer is packed, which was not asked for.")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _Counted(cast("httpx2.AsyncByteStream", response.stream))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise httpx2.StreamError(f"it holds more than {LARGEST_ANSWER:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
