"""What `up` does before it serves: the tables, and the first operator's way in.

Law: safe to run by several processes at once on one database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from agentsite.embedded.binaries import OLDEST_MAJOR
from agentsite.jobs.queue import QueueError, install_queue
from agentsite.signin.models import SignInLink

MIGRATION_LOCK = 0x61676E74
"""A number of our own for Postgres's advisory locks ("agnt")."""


def check_server() -> None:
    """Connect once, without the pool, which would keep the reason to itself.

    Raises CommandError when the server does not let us in or is too old.
    """
    params = cast("Any", connection).get_connection_params()
    try:
        with psycopg.connect(**params, connect_timeout=5) as direct:
            version = direct.info.server_version
    except psycopg.OperationalError as problem:
        reason = str(problem).strip()
        raise CommandError(f"The database does not let us in: {reason}") from None
    if version < OLDEST_MAJOR * 10000:
        raise CommandError(
            f"The database is PostgreSQL {version // 10000}; {OLDEST_MAJOR} is the oldest served."
        )


def apply_migrations() -> int:
    """Bring the tables up to date; how many migrations that took."""
    with _one_at_a_time():
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if missing:
            call_command("migrate", interactive=False, verbosity=0)
    return missing


def make_queue() -> None:
    """Make the queue of background work, where it is in the database. Raises CommandError."""
    try:
        install_queue()
    except QueueError as problem:
        raise CommandError(str(problem)) from None


def first_sign_in() -> str | None:
    """A token for the account `admin`, made when there is no operator; None once one came in."""
    with _one_at_a_time():
        operators = User.objects.filter(is_superuser=True, is_active=True)
        if not operators.exists():
            User.objects.create_superuser("admin", password=None)
        newcomer = operators.filter(last_login=None).order_by("pk").first()
        if newcomer is None or operators.exclude(last_login=None).exists():
            return None
        return SignInLink.objects.issue(newcomer)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
