"""Kombu's pgmq transport over the site's own database, however that is reached.

Law: the library's own connections know host, user and password alone, unquoted; ours take every
option that Django takes. Each process holds few of them.
"""

from __future__ import annotations

from typing import Any, cast

import psycopg
from django.db import connection
from kombu.transport import pgmq
from pgmq import PGMQueue
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

MOST_CONNECTIONS = 3
"""Of one process to the queue: two that read or write, one that listens."""
CONNECT_SECONDS = 5
DECLARE_LOCK = 0x706D7172
"""A number of our own for Postgres's advisory locks ("pmqr")."""


def database_address() -> str:
    """How Django connects, in libpq's words."""
    given = cast("Any", connection).get_connection_params()
    foreign = ("context", "cursor_factory", "prepare_threshold", "pool", "client_encoding")
    words = {key: value for key, value in given.items() if key not in foreign}
    return make_conninfo(**words, connect_timeout=CONNECT_SECONDS)


class Channel(pgmq.Channel):
    """Makes its queue alone: two processes that start at once would refuse each other's trigger."""

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        with psycopg.connect(database_address()) as direct:
            direct.execute("SELECT pg_advisory_xact_lock(%s)", [DECLARE_LOCK])
            super()._new_queue(queue, **kwargs)  # type: ignore[no-untyped-call]  # kombu has no types


class Transport(pgmq.Transport):
    """`pgmq://`: the database that Django uses."""

    Channel = Channel

    polling_interval = 0.5
    """Seconds until the queue is looked at again, should no notification come."""

    def _create_pgmq_client(self) -> PGMQueue:
        pool = ConnectionPool(
            database_address(), min_size=1, max_size=MOST_CONNECTIONS - 1, open=True, timeout=10
        )
        timeout = cast("Any", self.client).transport_options["visibility_timeout"]
        return PGMQueue(pool=pool, init_extension=False, vt=timeout, conn_string="dbname=unused")

    def _get_notify_waiter(self) -> Any:
        if self._notify_waiter is None:
            self._notify_waiter = pgmq._NotifyWaiter(database_address())
        return self._notify_waiter

    def close_connection(self, connection: Any) -> None:
        """End what this process holds; the library leaves a pool that it was given."""
        pool = self._pgmq_client.pool if self._pgmq_client is not None else None
        super().close_connection(connection)
        if pool is not None:
            pool.close()
