"""What goes wrong with an MCP server, in sentences that a model and an operator may read.

Law: imports no SDK.
"""

from __future__ import annotations

SHOWN_CHARS = 1_000


class McpError(Exception):
    """A failure whose text may be shown."""


class Unavailable(McpError):
    """No connection could be made, or there is no room: nothing was asked of the server."""


class NotSent(McpError):
    """The connection ended before the request left, or refused it unread."""


class Lost(McpError):
    """The connection ended while the request was under way: it may have been run."""


class Refused(McpError):
    """The server answered with an error."""


def lost(name: str) -> str:
    """Told when nobody knows what became of a request."""
    return (
        f"The connection to the MCP server {name} was lost while the call was under way."
        " Whether it took effect is not known: look before you repeat it."
    )


def cut(text: str) -> str:
    """Text of a stranger, as long as it may be shown."""
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
