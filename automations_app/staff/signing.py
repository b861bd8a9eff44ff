"""Signing as a sender would, in the dialect that an automation expects: for the test sender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsite.delivery.signing import digest, sign_standard
from automations_app.signatures import DEFAULT_HEADER, DEFAULT_PREFIX


def sign_like_sender(
    auth: Mapping[str, Any], secret: str, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers that prove the sender. `auth` as on the row; raises `BadSecret`."""
    key, stamp = secret.encode(), str(timestamp).encode()
    match auth["type"]:
        case "standard-webhooks":
            return {
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign_standard(secret, message_id, timestamp, body),
            }
        case "stripe":
            made = digest(key, stamp, b".", body).hex()
            return {"Stripe-Signature": f"t={timestamp},v1={made}"}
        case "slack":
            made = digest(key, b"v0:", stamp, b":", body).hex()
            return {
                "X-Slack-Signature": f"v0={made}",
                "X-Slack-Request-Timestamp": str(timestamp),
            }
        case _:
            prefix = auth.get("prefix")
            prefix = DEFAULT_PREFIX if prefix is None else prefix
            header = auth.get("header") or DEFAULT_HEADER
            return {header: prefix + digest(key, body).hex()}
