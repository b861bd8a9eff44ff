"""Ids: `<prefix>_<random>`. The randomness comes in, so that the engine stays pure."""

from __future__ import annotations

import base64

ENTROPY_BYTES = 10
"""80 bits give 16 characters."""


def make_id(prefix: str, entropy: bytes) -> str:
    """`make_id("tc", os.urandom(10))` gives `tc_` and 16 lower-case base32 characters.

    Raises ValueError for fewer than 10 bytes of entropy or an empty prefix.
    """
    if not prefix or len(entropy) < ENTROPY_BYTES:
        raise ValueError(f"an id needs a prefix and at least {ENTROPY_BYTES} random bytes")
    return f"{prefix}_{base64.b32encode(entropy).decode().rstrip('=').lower()}"
