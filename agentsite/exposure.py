"""Settings that would let in whom they should not: found before anything is served.

Law: pure; `settings.py` reads the environment and asks here.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

MODES = {"none", "key", "jwt"}
SHORTEST_SECRET = 32
"""Bytes; HS256 is no stronger than its secret."""
FERNET_BYTES = 32


def find_exposures(
    modes: Sequence[str],
    served: tuple[str, int],
    *,
    secret: str,
    jwks_url: str,
    issuer: str,
    audience: str,
) -> list[str]:
    """One sentence for each setting of callers that is wrong or missing; `served` is where."""
    found = []
    if unknown := sorted(set(modes) - MODES):
        found.append(f"AGENT_AUTH names {', '.join(unknown)}; the modes are none, key and jwt.")
    if "none" in modes and not is_loopback(served[0]):
        found.append(
            f"AGENT_AUTH={','.join(modes)} lets anybody in who can reach {served[0]}:{served[1]}. "
            "Set AGENT_AUTH=key (or jwt), or HOST=127.0.0.1 with a proxy that checks callers."
        )
    if "jwt" in modes:
        found += _check_tokens(secret, jwks_url, {"ISSUER": issuer, "AUDIENCE": audience})
    return found


def _check_tokens(secret: str, jwks_url: str, checked: dict[str, str]) -> list[str]:
    found = []
    if not secret and not jwks_url:
        found.append("AGENT_AUTH=jwt needs AGENT_JWT_SECRET (HS256) or AGENT_JWT_JWKS_URL.")
    if secret and len(secret.encode()) < SHORTEST_SECRET:
        found.append(f"AGENT_JWT_SECRET is too short: HS256 needs {SHORTEST_SECRET} bytes or more.")
    if jwks_url:
        parts = urlsplit(jwks_url)
        is_local = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not is_local:
            found.append("AGENT_JWT_JWKS_URL must be an https address.")
        found += [
            f"AGENT_JWT_JWKS_URL needs AGENT_JWT_{name}: its keys sign tokens for others too."
            for name, value in checked.items()
            if not value
        ]
    return found


def find_bad_keys(keys: Sequence[str]) -> list[str]:
    """One sentence for each of AGENT_SECRET_KEYS that cannot be one; it shows none of them."""
    return [
        f"AGENT_SECRET_KEYS: key {number} is no Fernet key (32 bytes in URL-safe base64)."
        for number, key in enumerate(keys, 1)
        if not _is_fernet_key(key)
    ]


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == FERNET_BYTES
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
