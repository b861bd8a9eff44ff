"""Host names to addresses: vetted after resolution, pinned for the connection.

Law: what is connected to is an address that was judged, never a name that may mean
another machine a moment later. One bad address among several refuses the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from agentsite.connections.addresses import Verdict, judge

Judge = Callable[[str], Verdict]
Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host name; raises OSError when there are none."""


class AddressRefused(OSError):
    """The address behind a name is not to be reached from here."""


def is_literal(host: str) -> bool:
    """Tell whether a canonical host is an address by itself."""
    return ":" in host or host.replace(".", "").isdigit()


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system's resolver; an address stands for itself."""
    if is_literal(host):
        return [host]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def vet(addresses: list[str], *, private: bool, judge: Judge = judge) -> list[str]:
    """Pass addresses through that may be connected to; raises `AddressRefused`."""
    for address in addresses:
        verdict = judge(address)
        if verdict == "never" or (verdict == "private" and not private):
            raise AddressRefused("the host has an address that is not reached from here")
    if not addresses:
        raise OSError("the host has no address")
    return addresses


class VettingResolver(AbstractResolver):
    """Resolves for aiohttp, which connects to exactly what this returns."""

    def __init__(self, lookup: Lookup, judge: Judge, *, private: bool) -> None:
        self._lookup = lookup
        self._judge = judge
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = vet(await self._lookup(host, port), private=self._private, judge=self._judge)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""
