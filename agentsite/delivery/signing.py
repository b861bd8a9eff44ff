"""Signatures of webhooks, ours and those we check: one HMAC in several spellings.

Law: pure. Secrets come in as text; bytes are signed as they stand, before anything parses them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"


class BadSecret(ValueError):
    """A secret that says it is base64 and is not."""


def key_of(secret: str) -> bytes:
    """The key of a Standard Webhooks secret: base64 behind `whsec_`, else the text's own bytes.

    Raises `BadSecret`.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret[len(PREFIX) :], validate=True)
    except binascii.Error:
        raise BadSecret(f"what follows {PREFIX} in the secret is not base64") from None


def digest(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 of the parts, with nothing between them."""
    made = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        made.update(part)
    return made.digest()


def sign_standard(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. Raises `BadSecret`."""
    made = digest(key_of(secret), f"{message_id}.{timestamp}.".encode(), body)
    return f"v1,{base64.b64encode(made).decode()}"


def sign_body(secret: str, body: bytes) -> str:
    """The value of `X-Amodal-Signature`, in GitHub's spelling: `sha256=<hex>`."""
    return f"sha256={digest(secret.encode(), body).hex()}"
