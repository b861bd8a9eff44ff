"""Whether a lease that has run out means that its owner is gone.

Law: nobody could renew while the database, or the way to it, was away. Whoever is back first
gives the others the time of a lease before it takes anything from them.
"""

from __future__ import annotations

import asyncio

from agentsite.rows.units import unit
from sessions_app import leases

RETRY_SECONDS = 0.5
"""After a heartbeat that failed: leases run out meanwhile."""
YOUNG = 3
"""Leases for which a database counts as just started: its recovery took some of the time."""


class Trust:
    """One process's trust in what leases say. Used from the event loop only."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._failed = False
        self._from: float | None = None

    def lose(self) -> None:
        """The database did not answer."""
        self._failed, self._from = True, None

    async def holds(self) -> bool:
        """Whether leases can be trusted now; asked while the database answers."""
        now = asyncio.get_running_loop().time()
        if self._from is None:
            shaken = self._failed or await unit(leases.is_database_young, YOUNG * self._lease)
            self._from = now + self._lease if shaken else now
        return now >= self._from
