"""Webhooks of ours: Standard Webhooks headers, and the reference's signature beside them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from agentsite.connections.client import Inbound, Outbound, guarded_client
from agentsite.connections.errors import OutboundError, Refused
from agentsite.connections.targets import parse_target
from agentsite.delivery.base import SECONDS, Outcome, Outgoing, again, dead
from agentsite.delivery.signing import BadSecret, sign_body, sign_standard

ANSWER_BYTES = 2_000
"""Of a receiver's answer; only its status counts."""
TOO_MANY = 429


async def send(outgoing: Outgoing) -> Outcome:
    """`POST` the payload as JSON to the target's `url`, signed when it has a `secret`."""
    body = msgspec.json.encode(outgoing.payload)
    stamp = int(time.time())
    headers = {"webhook-id": outgoing.id, "webhook-timestamp": str(stamp)}
    secret = outgoing.target.get("secret")
    if secret:
        try:
            headers["webhook-signature"] = sign_standard(secret, outgoing.id, stamp, body)
        except BadSecret as error:
            return dead(f"The target's secret cannot be used: {error}.")
        headers["X-Amodal-Signature"] = sign_body(secret, body)
    return await post(outgoing.target["url"], body, headers)


async def post(url: str, body: bytes, headers: dict[str, str]) -> Outcome:
    """`POST` JSON to an address that an operator's file or row names; it may be private."""
    try:
        request = Outbound(
            url=url,
            method="POST",
            headers={**headers, "Content-Type": "application/json"},
            body=body,
            named=frozenset((parse_target(url).origin,)),
            seconds=SECONDS,
            max_bytes=ANSWER_BYTES,
            cut=True,
        )
        answer = await guarded_client().send(request)
    except Refused as error:
        return dead(str(error))
    except OutboundError as error:
        return again(str(error))
    return _judge(answer)


def _judge(answer: Inbound) -> Outcome:
    status = answer.status
    if 200 <= status < 300:
        return Outcome(status=status)
    told = f"It answered with status {status}."
    if status == TOO_MANY or status >= 500:
        return again(told, status, _read_pause(answer.headers.get("Retry-After", "")))
    if 300 <= status < 400:
        told = f"It has moved (status {status}); name its new address."
    return dead(told, status)


def _read_pause(text: str) -> float:
    """Seconds that a `Retry-After` asks for; 0 for none, or one that cannot be read."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
