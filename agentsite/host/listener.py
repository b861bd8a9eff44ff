"""The process's one LISTEN connection: what others have committed, as a hint.

Law: rows are the truth. A lost notification costs a moment, never an event: after
every reconnect all streams look into the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import DatabaseError, connection

from agentsite.bus import reading
from agentsite.host.hub import Hub
from agentsite.rows.tenancy import act_for_all
from sessions_app.log import CHANNEL

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
CONNECT_SECONDS = 5


class Listener:
    """Turns notifications into nudges of local streams and runs."""

    def __init__(
        self,
        hub: Hub,
        last_given: Callable[[str], int],
        hear: Callable[[list[str]], None],
        take_up: Callable[[list[str]], None],
        wake_bus: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._last_given = last_given
        self._hear = hear
        self._take_up = take_up
        self._wake_bus = wake_bus
        self.listening = False
        """Whether notifications arrive at this moment."""

    async def listen_for_ever(self) -> None:
        """Listen, and listen again when the connection is lost."""
        act_for_all("words to runs of every scope")
        while True:
            try:
                await self._listen()
            except (psycopg.Error, DatabaseError, OSError) as error:
                logger.warning("the notifications broke off: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        # A connection of its own, outside the pool: it is held for ever.
        async with await psycopg.AsyncConnection.connect(
            **connection_parameters(), autocommit=True, connect_timeout=CONNECT_SECONDS
        ) as listening:
            await listening.execute(f"LISTEN {CHANNEL}")
            await listening.execute(f"LISTEN {reading.CHANNEL}")
            self.listening = True
            self._hub.nudge(self._hub.sessions())
            self._wake_bus()
            try:
                async for notification in listening.notifies():
                    if notification.channel == reading.CHANNEL:
                        self._wake_bus()
                    else:
                        self._take(notification.payload)
            finally:
                self.listening = False

    def _take(self, payload: str) -> None:
        marked: dict[str, list[str]] = {"!": [], "?": [], "-": []}
        told: list[str] = []
        for word in payload.split():
            if word[0] in marked:
                marked[word[0]].append(word[1:])
            else:
                told.append(word)
        if marked["!"]:
            self._hear(marked["!"])  # not waited for: streams must hear what comes behind
        if marked["?"]:
            self._take_up(marked["?"])
        self._hub.end(marked["-"])
        self._hub.nudge(self._find_behind(told))

    def _find_behind(self, told: list[str]) -> list[str]:
        """Sessions that are listened to and have more than this process has given out."""
        behind: list[str] = []
        for word in told:
            name, _, seq = word.partition(":")
            # Higher numbers than ours: somebody else has the run, whatever we believe.
            if self._hub.listened(name) and int(seq) > self._last_given(name):
                behind.append(name)
        return behind


def connection_parameters() -> dict[str, Any]:
    """How Django connects, as plain psycopg parameters."""
    parameters = connection.get_connection_params()
    wanted = {"dbname", "user", "password", "host", "port", "sslmode", "service"}
    return {key: value for key, value in parameters.items() if key in wanted and value}
