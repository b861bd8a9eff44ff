"""Which IP addresses may be connected to.

Law: public means globally routed, and nothing else; an address that carries another one
(mapped, NAT64, 6to4, Teredo) is judged by both. Metadata services are never reached.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

Verdict = Literal["public", "private", "never"]
"""`private`: only where an operator's file names the host; `never`: not even then."""

METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google and most others
            "169.254.169.253",
            "169.254.169.123",
            "169.254.170.2",  # AWS container credentials
            "169.254.170.23",
            "169.254.0.23",  # Tencent
            "169.254.42.42",  # Scaleway
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "168.63.129.16",  # Azure's wire server
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
        ),
    )
)
NEVER_V4 = tuple(
    map(IPv4Network, ("169.254.169.0/24", "169.254.170.0/23", "224.0.0.0/4", "240.0.0.0/4"))
)
NEVER_V6 = (IPv6Network("ff00::/8"),)
PRIVATE_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
        ),
    )
)
"""IANA's special-purpose registry; documentation ranges too, nobody serves there."""
GLOBAL_V6 = IPv6Network("2000::/3")
PRIVATE_V6 = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
"""Networks whose addresses hold an IPv4 address, and how many bits stand behind it."""
TEREDO = IPv6Network("2001::/32")
NAT64 = IPv6Network("64:ff9b::/96")


def judge(text: str) -> Verdict:
    """Say whether an address may be connected to. ValueError if it is none."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return _judge_v4(address)
    return _judge_v6(address)


def _judge_v4(address: IPv4Address) -> Verdict:
    if address in METADATA or any(address in network for network in NEVER_V4):
        return "never"
    return "private" if any(address in network for network in PRIVATE_V4) else "public"


def _judge_v6(address: IPv6Address) -> Verdict:
    if address in METADATA or any(address in network for network in NEVER_V6):
        return "never"
    carried = [_judge_v4(inner) for inner in _find_carried(address)]
    if "never" in carried:
        return "never"
    if address in NAT64:  # the network's own way to the public IPv4 internet
        return carried[0]
    special = any(address in network for network in PRIVATE_V6)
    return "public" if address in GLOBAL_V6 and not special else "private"


def _find_carried(address: IPv6Address) -> list[IPv4Address]:
    """IPv4 addresses inside this one."""
    number = int(address)
    found = [
        IPv4Address((number >> behind) & 0xFFFFFFFF)
        for network, behind in CARRIERS
        if address in network
    ]
    if address in TEREDO:  # the client's address is stored inverted
        found += [IPv4Address((number >> 64) & 0xFFFFFFFF), IPv4Address(~number & 0xFFFFFFFF)]
    return found
