"""celery-beat's database scheduler, of which any number may run and one leads.

Law: whoever holds one lock of the database fires, on a connection outside the pool, so that the
lock ends with its process; the others try for it every second. That nothing is done twice does
not rest on this: each due time is a row that is claimed once.
"""

from __future__ import annotations

import logging
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import DatabaseScheduler

from agentsite.jobs.leading import LEADER_LOCK
from agentsite.jobs.queue import prepare_queue
from agentsite.jobs.transport import database_address

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
KEEP = (
    # A leader that is gone with its machine, or stands still, loses the lock.
    "SET tcp_keepalives_idle = 5", "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3", "SET idle_session_timeout = '20s'",
)  # fmt: skip


class LeaderScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Fires while it leads; else it stands by."""

    _direct: psycopg.Connection[Any] | None = None
    """Kept while standing by: a new connection each second would cost more than all else."""
    _leading = False

    def setup_schedule(self) -> None:
        """Write our own entries into the rows."""
        prepare_queue()
        super().setup_schedule()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Fire what is due, if we lead; seconds until the next look."""
        if not self.leads():
            return RETRY_SECONDS
        try:
            return min(float(super().tick(*args, **kwargs)), RETRY_SECONDS)
        except (DatabaseError, InterfaceError) as problem:
            logger.warning("the schedule cannot be read: %s", problem)
            return RETRY_SECONDS

    def leads(self) -> bool:
        """Whether the lock is ours at this moment; try for it otherwise."""
        try:
            if self._direct is None:
                self._direct = _connect()
            if self._leading:
                self._direct.execute("SELECT 1")
            else:
                self._try_to_lead(self._direct)
        except psycopg.Error as problem:
            logger.warning("beat has lost the way to its lock: %s", problem)
            self.let_go()
        return self._leading

    def _try_to_lead(self, direct: psycopg.Connection[Any]) -> None:
        row = direct.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK]).fetchone()
        if not (row and row[0]):
            return
        # What the last leader has fired stands in its rows: read them anew.
        self._initial_read, self._heap, self.old_schedulers = True, None, None
        self._last_timestamp = None
        self._leading = True
        logger.info("beat leads now")

    def let_go(self) -> None:
        """Lead no more."""
        self._leading = False
        if self._direct is not None:
            self._direct.close()
            self._direct = None

    def close(self) -> None:
        """Write what was fired, and let another one lead."""
        super().close()
        self.let_go()


def _connect() -> psycopg.Connection[Any]:
    """A connection with which its lock ends, when nobody has used it for long."""
    direct = psycopg.connect(database_address(), autocommit=True)
    for command in KEEP:
        direct.execute(command.encode())
    return direct
