"""Where a request goes: an address on the web, taken apart strictly.

Law: one reading only. Whatever two parsers could read differently (user names, backslashes,
odd ways to write numbers, control characters) is refused, never repaired.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import idna
from yarl import URL

from agentsite.connections.errors import Refused

LONGEST_URL = 8_000
WHOLE = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@]+)(?::(\d{1,5}))?", re.IGNORECASE)
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
LABELS = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_-]{1,63})*")
NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
NEVER_NAMES = frozenset(
    (
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
    )
)
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Host and port; the host is canonical: lower case, no trailing dot, IDNA, plain numbers."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Target:
    """One address to go to."""

    scheme: str
    origin: Origin
    url: URL

    @property
    def path(self) -> str:
        """The path as it goes over the wire."""
        return self.url.raw_path


def parse_target(text: str) -> Target:
    """Take an http or https address apart. Raises `Refused`."""
    if len(text) > LONGEST_URL:
        raise Refused(f"The address is longer than {LONGEST_URL:,} characters.")
    whole = WHOLE.fullmatch(text)
    if whole is None:
        raise Refused("The address does not begin with http:// or https://.")
    scheme, authority, rest = whole[1].lower(), whole[2], whole[3]
    if UNSAFE.search(authority) or UNSAFE.search(rest) or "%" in authority:
        raise Refused("The address holds characters that no address may hold.")
    if "@" in authority:
        raise Refused("The address holds a user name or password; they are not sent that way.")
    parts = AUTHORITY.fullmatch(authority)
    if parts is None:
        raise Refused("The address names no host.")
    port = int(parts[2]) if parts[2] else PORTS[scheme]
    if not 0 < port < 65_536:
        raise Refused("The port of the address is no port.")
    host = canonical_host(parts[1])
    shown = f"[{host}]" if ":" in host else host
    default = port == PORTS[scheme]
    url = URL(f"{scheme}://{shown}{'' if default else f':{port}'}{rest}")
    if url.raw_host != host or url.port != port:
        raise Refused("The address can be read in more than one way.")
    return Target(scheme, Origin(host, port), url)


def canonical_host(text: str) -> str:
    """The one spelling of a host. Raises `Refused` for odd ones."""
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise Refused("The address in brackets is no IPv6 address.") from None
    host = unicodedata.normalize("NFKC", text).lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True, std3_rules=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise Refused("The host of the address is no name.") from None
    host = host.removesuffix(".")
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise Refused(
                "The host of the address is a number in an unusual form; write it as 192.0.2.1."
            ) from None
    if len(host) > 253 or not LABELS.fullmatch(host):
        raise Refused("The host of the address is no name.")
    if host in NEVER_NAMES:
        raise Refused(f"{host} is never reached: it hands out the credentials of machines.")
    return host
