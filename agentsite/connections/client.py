"""The one guarded HTTP client for everything outbound that is not a model's SDK.

Law: addresses are vetted after resolution and again at the socket; private ones are for
hosts that an operator's file names. No proxies, no cookies, bounded time and size. Public
and named traffic never share a connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from agentsite.connections.addresses import judge
from agentsite.connections.errors import OutboundError, Refused, TimedOut, TooLarge, Unreachable
from agentsite.connections.names import (
    AddressRefused,
    Judge,
    Lookup,
    VettingResolver,
    is_literal,
    look_up,
    vet,
)
from agentsite.connections.rates import Rate, Rates
from agentsite.connections.targets import Origin, Target, parse_target

MOST_CONNECTIONS = 200
PER_HOST = 16
CONNECT_SECONDS = 10.0
READ_BYTES = 64 * 1024
REDIRECTS = frozenset((301, 302, 303, 307, 308))
KEPT_ACROSS_ORIGINS = frozenset(("accept", "accept-language", "user-agent"))
AGENT = "agentsite"
NOT_REACHED = (
    "{host} is a private address or leads to one; such hosts are reached only where the"
    " agent's own files name them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """One request to be sent."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    named: frozenset[Origin] = frozenset()
    """Hosts that an operator's file or row names: they may be private."""
    seconds: float = 30.0
    """For everything: redirects, headers, body."""
    max_bytes: int = 5_000_000
    """Of the body, decompressed."""
    cut: bool = False
    """Take the first `max_bytes` of a larger body, in place of an error."""
    redirects: int = 5
    """Followed for GET and HEAD at the most; other methods get the redirect as the answer."""
    check: Callable[[Target], None] | None = None
    """Asked before each further hop; raises `Refused`."""
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = field(repr=False)
    url: URL
    """Where it came from, after redirects."""
    cut: bool = False


class GuardedClient:
    """Pools of connections for one event loop."""

    def __init__(self, lookup: Lookup = look_up, judge: Judge = judge) -> None:
        self._lookup = lookup
        self._judge = judge
        self._rates = Rates()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def send(self, request: Outbound) -> Inbound:
        """Send and read the whole answer. Raises `OutboundError`, whose text may be shown."""
        try:
            async with asyncio.timeout(request.seconds):
                return await self._follow(request)
        except TimeoutError:
            raise TimedOut(f"There was no answer within {request.seconds:g} seconds.") from None

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def _follow(self, request: Outbound) -> Inbound:
        target = parse_target(request.url)
        headers, named = CIMultiDict(request.headers), request.named
        for hops_left in range(request.redirects, -1, -1):
            private = target.origin in named
            self._vet_literal(target, private=private)
            if request.rate is not None:
                self._rates.take(request.rate, target.origin.host)
            answer, location = await self._exchange(request, target, headers, private=private)
            if location is None or request.method not in ("GET", "HEAD") or hops_left == 0:
                return answer
            following = _resolve_location(target, location)
            if (following.scheme, following.origin) != (target.scheme, target.origin):
                # Another origin gets nothing that was meant for this one, named hosts included.
                kept = {k: v for k, v in headers.items() if k.lower() in KEPT_ACROSS_ORIGINS}
                headers, named = CIMultiDict(kept), frozenset()
            if request.check is not None:
                request.check(following)
            target = following
        raise AssertionError("the last hop returns")

    async def _exchange(
        self, request: Outbound, target: Target, headers: CIMultiDict[str], *, private: bool
    ) -> tuple[Inbound, str | None]:
        try:
            async with self._session(private).request(
                request.method,
                target.url,
                headers=headers,
                data=request.body,
                allow_redirects=False,
            ) as response:
                location = response.headers.get("Location")
                if response.status not in REDIRECTS:
                    location = None
                body, cut = await _read(response, request)
                found = Inbound(response.status, response.headers, body, response.url, cut)
                return found, location
        except OutboundError:
            raise
        except aiohttp.ClientError as error:
            raise _explain(error, target) from None
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Unreachable(f"The connection to {target.origin.host} failed.") from None

    def _session(self, private: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(private)
        if session is None:
            connector = aiohttp.TCPConnector(
                resolver=VettingResolver(self._lookup, self._judge, private=private),
                socket_factory=lambda info: self._open_socket(info, private=private),
                limit=MOST_CONNECTIONS,
                limit_per_host=PER_HOST,
            )
            session = self._sessions[private] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=True,
                headers={"User-Agent": AGENT, "Accept-Encoding": "gzip, deflate"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                max_line_size=16_384,
                max_field_size=16_384,
            )
        return session

    def _open_socket(self, info: Any, *, private: bool) -> socket.socket:
        family, kind, proto, _name, address = info
        vet([str(address[0])], private=private, judge=self._judge)
        return socket.socket(family, kind, proto)

    def _vet_literal(self, target: Target, *, private: bool) -> None:
        """Refuse an address that is written as a number before anything is opened."""
        host = target.origin.host
        if is_literal(host):
            try:
                vet([host], private=private, judge=self._judge)
            except AddressRefused:
                raise Refused(NOT_REACHED.format(host=host)) from None


def _resolve_location(target: Target, location: str) -> Target:
    """The target of a redirect; a step down from https to http is refused."""
    try:
        joined = str(target.url.join(URL(location)))
    except ValueError:
        raise Refused(f"{target.origin.host} redirects to something that is no address.") from None
    if "\\" in location or "@" in location.partition("?")[0]:
        raise Refused(f"{target.origin.host} redirects to an address that is not plain.")
    following = parse_target(joined)
    if target.scheme == "https" and following.scheme == "http":
        raise Refused(f"{target.origin.host} redirects from https to http.")
    return following


async def _read(response: aiohttp.ClientResponse, request: Outbound) -> tuple[bytes, bool]:
    chunks, size = [], 0
    while chunk := await response.content.read(READ_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > request.max_bytes:
            if request.cut:
                response.close()
                return b"".join(chunks)[: request.max_bytes], True
            raise TooLarge(f"The answer is larger than {request.max_bytes:,} bytes.")
    return b"".join(chunks), False


def _explain(error: aiohttp.ClientError, target: Target) -> OutboundError:
    """Say what happened in words that give nothing of the request away."""
    host = target.origin.host
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return Refused(f"The certificate of {host} is not valid.")
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, AddressRefused):
            return Refused(NOT_REACHED.format(host=host))
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return Unreachable(f"The host {host} is not known.")
        return Unreachable(f"No connection to {host}:{target.origin.port}.")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return Unreachable(f"The answer of {host} is not sound HTTP.")
    return Unreachable(f"The connection to {host} broke.")


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, GuardedClient] = WeakKeyDictionary()


def guarded_client() -> GuardedClient:
    """The client of this process, for the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = GuardedClient()
    return _clients[loop]


async def close_guarded_client() -> None:
    """Close the client of this event loop; to be called before the loop ends."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()
