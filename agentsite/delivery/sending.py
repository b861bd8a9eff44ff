"""One attempt at any kind of target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agentsite.delivery import callback, email, slack, store, webhook
from agentsite.delivery.base import Outcome, Outgoing

SENDERS: dict[str, Callable[[Outgoing], Awaitable[Outcome]]] = {
    "webhook": webhook.send,
    "slack": slack.send,
    "email": email.send,
    "callback": callback.send,
    "store": store.send,
}


async def send(outgoing: Outgoing) -> Outcome:
    """Deliver, and tell how it went."""
    return await SENDERS[outgoing.target["type"]](outgoing)
