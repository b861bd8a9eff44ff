"""Runs in large numbers, by steps that each are a transaction.

Law: triggers and foreign keys are off in this one connection, so rows come in at the speed of the
disk, and indexes that serve lists are built when the rows are there. That takes a superuser,
which the embedded Postgres gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from agentsite.management.data import long, others, rows

Connection = psycopg.Connection[tuple[Any, ...]]
STEP = 50_000
LEAST_EVENTS = 3
"""`init`, a piece of text, `done`."""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(%s::regclass[]) AND NOT indisunique
"""


def make_runs(connection: Connection, runs: int, events: int, tell: Callable[[str], None]) -> None:
    """Make so many runs with so many events between them. `connection` is in autocommit.

    Raises `psycopg.errors.InsufficientPrivilege` for a user who may not switch triggers off.
    """
    each = max(LEAST_EVENTS, events // max(runs, 1))
    numbers = {":runs": str(runs), ":events": str(each)}
    connection.execute("SET session_replication_role = replica")
    try:
        with without_indexes(connection, tell):
            for first in range(1, runs + 1, STEP):
                last = min(first + STEP - 1, runs)
                numbers |= {":first": str(first), ":last": str(last)}
                with connection.transaction():
                    for step in rows.STEPS:
                        connection.execute(fill(step, numbers))
                tell(f"{last:,} of {runs:,} runs")
            for step in rows.AFTERWARDS:
                connection.execute(fill(step, numbers))
            for step in (long.LONG, *others.OTHERS):
                connection.execute(fill(step, numbers))
            tell("what stands beside runs")
    finally:
        connection.execute("SET session_replication_role = DEFAULT")
    connection.execute("SELECT agentsite_rebuild_usage()")
    tables = ", ".join((*(f"sessions_app_{name}" for name in rows.TABLES), *others.OTHER_TABLES))
    connection.execute(f"VACUUM ANALYZE {tables}".encode())


def fill(statement: str, numbers: dict[str, str]) -> bytes:
    """The statement with its numbers."""
    for name, number in numbers.items():
        statement = statement.replace(name, number)
    return statement.encode()


@contextmanager
def without_indexes(connection: Connection, tell: Callable[[str], None]) -> Iterator[None]:
    """Take the indexes away that are not unique, and build them again afterwards."""
    tables = [f"sessions_app_{name}" for name in rows.TABLES]
    found = connection.execute(INDEXES, [tables]).fetchall()
    with connection.transaction():
        for name, _ in found:
            connection.execute(f"DROP INDEX {name}".encode())
    try:
        yield
    finally:
        for number, (name, definition) in enumerate(found, start=1):
            connection.execute(str(definition).encode())
            tell(f"index {number} of {len(found)}: {name}")
