"""The guard for SDKs that bring their own HTTP client (mcp: httpx2).

Law: as the guarded client, hop by hop: whatever the SDK asks for, redirects included, is
connected to a vetted address only. The SDK keeps its streams and its own timeouts.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from functools import cache
from typing import Any

import httpcore2
import httpx2
from httpcore2 import AnyIOBackend

from agentsite.connections.client import NOT_REACHED
from agentsite.connections.errors import Refused
from agentsite.connections.names import AddressRefused, Lookup, look_up, vet
from agentsite.connections.targets import Origin, canonical_host

MOST_CONNECTIONS = 100


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """A transport for `httpx2.AsyncClient(transport=..., trust_env=False)`.

    `named`: hosts that an operator's file or row names (`parse_target(url).origin`).
    """

    def __init__(self, named: frozenset[Origin], lookup: Lookup = look_up) -> None:
        # The pool is made here, not by the base class: only so can a backend be given to it.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_tls(),
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=20,
            keepalive_expiry=15.0,
            network_backend=_GuardedBackend(named, lookup),
        )


@cache
def _tls() -> ssl.SSLContext:
    """One for all: to read the authorities anew takes milliseconds of every connection."""
    return ssl.create_default_context()


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self, named: frozenset[Origin], lookup: Lookup) -> None:
        self._named = named
        self._lookup = lookup
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            name = canonical_host(f"[{host}]" if ":" in host else host)
            private = Origin(name, port) in self._named
            addresses = vet(await self._lookup(name, port), private=private)
        except Refused as error:
            raise httpcore2.ConnectError(str(error)) from None
        except AddressRefused:
            raise httpcore2.ConnectError(NOT_REACHED.format(host=host)) from None
        except OSError:
            raise httpcore2.ConnectError(f"The host {host} is not known.") from None
        return await self._connect_first(addresses, port, timeout, local_address, socket_options)

    async def _connect_first(
        self,
        addresses: list[str],
        port: int,
        seconds: float | None,
        local_address: str | None,
        options: Iterable[Any] | None,
    ) -> httpcore2.AsyncNetworkStream:
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, seconds, local_address, options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, seconds, local_address, options)

    async def connect_unix_socket(self, path: str, *_args: Any, **_options: Any) -> Any:
        raise httpcore2.ConnectError("Sockets of this machine are not reached.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
