"""Making the queue in our own database, and saying whether the broker takes tasks.

Law: safe to run by several processes at once; whoever may not make it is told what to do.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.db import connection
from kombu.connection import Connection
from kombu.exceptions import OperationalError as BrokerError
from pgmq.install import get_embedded_install_sql

from agentsite.embedded import EmbeddedError, attach
from agentsite.embedded.layout import socket_directory
from agentsite.jobs.transport import database_address

INSTALL_LOCK = 0x706D7171
"""A number of our own for Postgres's advisory locks ("pmqq")."""
LEFT_SECONDS = 120
"""A task that is older than this was left lying."""


class QueueError(Exception):
    """The queue cannot be made, in a sentence for the operator."""


@cache
def prepare_queue() -> None:
    """What a worker or beat needs before it connects; ends the process with the reason.

    The embedded database, if that is ours, is held until the process ends.
    """
    try:
        if settings.EMBEDDED and connection.settings_dict["HOST"] == _embedded_host():
            attach(settings.EMBEDDED_BASE)
        install_queue()
    except (EmbeddedError, QueueError) as problem:
        sys.exit(str(problem))
    except psycopg.OperationalError as problem:
        sys.exit(f"The database does not let us in: {str(problem).strip()}")


def in_database() -> bool:
    """Whether the broker is the site's own database."""
    return urlsplit(settings.CELERY_BROKER_URL).scheme == "pgmq"


def _embedded_host() -> str:
    return str(socket_directory(settings.EMBEDDED_BASE, os.geteuid()))


def install_queue() -> None:
    """Make the schema `pgmq` where it is needed and missing. Raises `QueueError`."""
    if not in_database():
        return
    try:
        with psycopg.connect(database_address()) as direct:
            direct.execute("SELECT pg_advisory_xact_lock(%s)", [INSTALL_LOCK])
            if not _is_made(direct):
                direct.execute(get_embedded_install_sql().encode())
    except psycopg.errors.InsufficientPrivilege as problem:
        raise QueueError(
            "The queue of background work cannot be made in the database:"
            f" {problem.diag.message_primary}. Either let its user make schemas"
            " (GRANT CREATE ON DATABASE … TO …), or set"
            " CELERY_BROKER_URL or REDIS_URL to a Redis or RabbitMQ server."
        ) from None


def _is_made(direct: psycopg.Connection[Any]) -> bool:
    row = direct.execute("SELECT to_regclass('pgmq.meta') IS NOT NULL").fetchone()
    return bool(row and row[0])


def find_problem() -> str | None:
    """Why the broker takes no tasks; None when it does. Synchronous, about two seconds at most.

    Of the site's own database another part of `/ready` tells.
    """
    if in_database():
        return None
    try:
        with Connection(  # type: ignore[no-untyped-call]  # kombu has no types
            settings.CELERY_BROKER_URL, connect_timeout=2
        ) as broker:
            broker.ensure_connection(max_retries=1, timeout=2)
    except (BrokerError, OSError):
        return "The broker does not answer."
    return None


def are_tasks_left() -> bool:
    """Whether tasks wait for long, as far as our own database tells. For `unit`."""
    if not in_database():
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pgmq.q_celery') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pgmq.q_celery WHERE enqueued_at <"
            " clock_timestamp() - %s * interval '1 second')",
            [LEFT_SECONDS],
        )
        return bool(cursor.fetchone()[0])
