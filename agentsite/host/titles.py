"""Titles: a few words by the simple model, once a run has ended and its agent has said something.

Law: a title that is there, whoever gave it, is never replaced by one that is made.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentsite.host.compaction import ask_simply
from agentsite.host.conversation import Conversation
from agentsite.host.meter import Meter
from agentsite.rows.units import unit
from sessions_app import leases

if TYPE_CHECKING:
    from agentsite.host.driver import Driver

INSTRUCTION = (
    "Name the conversation below in at most six words, in its own language. "
    "Answer with the title alone: no quotation marks, no full stop."
)
SHOWN_CHARS = 2_000
MAX_CHARS = 80
MAX_TOKENS = 400
FIRST_LOOK = 0.02
"""Seconds after which it is looked for another process's change; later looks take longer."""


def has_answer(driver: Driver) -> bool:
    """Whether the agent has said anything in the session, as far as it stands there still."""
    said = (item.message for item in driver.conversation.history)
    return not driver.rolled_back and any(m.role == "assistant" and m.text.strip() for m in said)


async def make_title(conversation: Conversation, meter: Meter) -> str:
    """A title, empty when the model gave none; the meter has what it cost."""
    spoken = [
        f"{item.message.role.upper()}: {item.message.text[:SHOWN_CHARS]}"
        for item in conversation.history
        if item.message.role in ("user", "assistant") and item.message.text
    ]
    text = await ask_simply(
        conversation.agent, meter, INSTRUCTION, "\n\n".join(spoken[:4]), MAX_TOKENS
    )
    first_line = text.strip().splitlines()[0] if text.strip() else ""
    return first_line.strip(" \"'#*.")[:MAX_CHARS]


async def await_title(session_id: str, title: str, seconds: float) -> None:
    """Wait until the owner of a session's live run has written a title, so long at the most."""
    until, pause = asyncio.get_running_loop().time() + seconds, FIRST_LOOK
    while asyncio.get_running_loop().time() < until:
        if await unit(leases.has_title, session_id, title):
            return
        await asyncio.sleep(pause)
        pause *= 2
