"""Slack's incoming webhooks: the result as a message in a channel."""

from __future__ import annotations

import msgspec

from agentsite.delivery import webhook
from agentsite.delivery.base import Outcome, Outgoing

LONGEST = 39_000
"""Slack cuts texts at 40,000 characters."""


def escape(text: str) -> str:
    """Text as Slack shows it: nothing in it mentions a channel or becomes a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def send(outgoing: Outgoing) -> Outcome:
    """`POST` `{"text"}` to the target's `url`."""
    text = compose(outgoing.payload)[:LONGEST]
    return await webhook.post(outgoing.target["url"], msgspec.json.encode({"text": text}), {})


def compose(payload: dict[str, object]) -> str:
    """The operator's template, whose values were escaped when it was filled in, or the result."""
    if "message" in payload:
        return str(payload["message"])
    name = escape(str(payload["automation"]))
    if payload["status"] == "failure":
        return f"*{name}* failed: {escape(str(payload['error']))}"
    if "result" not in payload:
        return f"*{name}* has run."
    return f"*{name}*\n{escape(str(payload['result']))}"
