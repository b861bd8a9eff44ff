"""Whether a webhook comes from who holds the secret: every dialect that senders speak.

Law: pure, on the raw bytes; comparisons take the same time whatever differs. What is missing
is told to the sender, what is wrong is not. A time stamp outside the tolerance is refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from agentsite.delivery.signing import digest, key_of

DEFAULT_HEADER = "X-Amodal-Signature"
DEFAULT_PREFIX = "sha256="
HEX_LENGTH = 64
MOST_SIGNATURES = 20
"""In one header; senders send a few while they rotate secrets."""
SENT_HEADERS = ("webhook-signature", "svix-signature", "stripe-signature", "x-slack-signature")
"""Where the dialects with a fixed header put what proves the sender."""


class BadSignature(Exception):
    """The sender could not be believed; `str()` may be shown to it."""


class Signed(NamedTuple):
    """What a request brings to be verified."""

    auth: Mapping[str, Any]
    """As on the row: `{type, header?, prefix?, tolerance}`."""
    secret: str
    headers: Mapping[str, str]
    """Without regard to case."""
    body: bytes
    now: float
    """Seconds since the epoch."""

    def header(self, *names: str) -> str:
        """The first of these headers that is there. Raises `BadSignature`."""
        for name in names:
            found = self.headers.get(name)
            if found:
                return str(found)
        raise BadSignature(f"Missing {names[0]} header")

    def check_time(self, text: str) -> bytes:
        """The time stamp's bytes, if it is one and near. Raises `BadSignature`."""
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise BadSignature("The webhook's timestamp is not a number of seconds")
        if abs(self.now - int(text)) > self.auth.get("tolerance", 300):
            raise BadSignature("The webhook's timestamp is too far from this server's clock")
        return text.encode()


def verify(signed: Signed) -> None:
    """Raises `BadSignature`, or `BadSecret` for a secret of ours that cannot be one."""
    DIALECTS[signed.auth["type"]](signed)


def _verify_hmac(signed: Signed) -> None:
    """The signature of the body alone, as hex (GitHub, the reference) or base64 (Shopify)."""
    given = signed.header(signed.auth.get("header") or DEFAULT_HEADER).strip()
    prefix = signed.auth.get("prefix")
    if prefix is None:
        given = given.removeprefix(DEFAULT_PREFIX)
    elif not given.startswith(prefix):
        raise BadSignature("Invalid webhook signature")
    else:
        given = given[len(prefix) :]
    raw = _from_hex(given) if len(given) == HEX_LENGTH else _from_base64(given)
    _compare(digest(signed.secret.encode(), signed.body), [raw])


def _verify_standard(signed: Signed) -> None:
    """https://www.standardwebhooks.com: id, time and body, several signatures."""
    message_id = signed.header("webhook-id", "svix-id")
    stamp = signed.check_time(signed.header("webhook-timestamp", "svix-timestamp"))
    given = signed.header("webhook-signature", "svix-signature").split()
    wanted = digest(
        key_of(signed.secret), message_id.encode("latin-1"), b".", stamp, b".", signed.body
    )
    found = [each[3:] for each in given[:MOST_SIGNATURES] if each.startswith("v1,")]
    _compare(wanted, map(_from_base64, found))


def _verify_stripe(signed: Signed) -> None:
    """`t=…,v1=…,v1=…`: time and body."""
    fields = [
        (name.strip(), value.strip())
        for name, _, value in (
            part.partition("=") for part in signed.header("Stripe-Signature").split(",")
        )
    ]
    stamp = signed.check_time(next((value for name, value in fields if name == "t"), ""))
    found = [value for name, value in fields if name == "v1"][:MOST_SIGNATURES]
    _compare(digest(signed.secret.encode(), stamp, b".", signed.body), map(_from_hex, found))


def _verify_slack(signed: Signed) -> None:
    """`v0=<hex>` of version, time and body."""
    given = signed.header("X-Slack-Signature")
    stamp = signed.check_time(signed.header("X-Slack-Request-Timestamp"))
    if not given.startswith("v0="):
        raise BadSignature("Invalid webhook signature")
    wanted = digest(signed.secret.encode(), b"v0:", stamp, b":", signed.body)
    _compare(wanted, [_from_hex(given[3:])])


DIALECTS: dict[str, Callable[[Signed], None]] = {
    "hmac-sha256": _verify_hmac,
    "standard-webhooks": _verify_standard,
    "stripe": _verify_stripe,
    "slack": _verify_slack,
}


def _compare(wanted: bytes, given: Iterable[bytes]) -> None:
    fitting = 0
    for each in given:  # all of them: which one fits is nobody's business
        fitting += hmac.compare_digest(wanted, each)
    if not fitting:
        raise BadSignature("Invalid webhook signature")


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
