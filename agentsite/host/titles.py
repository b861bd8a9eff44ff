"""Titles: a few words by the simple model, after the first run has ended."""

from __future__ import annotations

from agentsite.host.compaction import ask_simply
from agentsite.host.conversation import Conversation
from sessions_app.metering import FinishedCall

INSTRUCTION = (
    "Name the conversation below in at most six words, in its own language. "
    "Answer with the title alone: no quotation marks, no full stop."
)
SHOWN_CHARS = 2_000
MAX_CHARS = 80
MAX_TOKENS = 400


async def make_title(conversation: Conversation) -> tuple[str, list[FinishedCall]]:
    """A title (empty when the model gave none) and what it cost."""
    spoken = [
        f"{item.message.role.upper()}: {item.message.text[:SHOWN_CHARS]}"
        for item in conversation.history
        if item.message.role in ("user", "assistant") and item.message.text
    ]
    text, rows = await ask_simply(
        conversation.agent, "title", INSTRUCTION, "\n\n".join(spoken[:4]), MAX_TOKENS
    )
    first_line = text.strip().splitlines()[0] if text.strip() else ""
    return first_line.strip(" \"'#*.")[:MAX_CHARS], rows
