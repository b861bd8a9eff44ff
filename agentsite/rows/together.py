"""Statements that leave together: one round trip, prepared by the server, one transaction.

Law: nothing is sent before all of it was said, and nothing of it counts unless all of it does.
An insert writes what `save(force_insert=True)` writes, without compiling it anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import psycopg
from django.db import connection, models
from django.db.models.expressions import DatabaseDefault


class Together:
    """Collects statements; `send` does them. No results: what must be read is asked apart."""

    def __init__(self) -> None:
        self._statements: list[tuple[str, Sequence[Any]]] = []

    def say(self, sql: str, values: Sequence[Any]) -> None:
        """Add a statement; its values are bound on the server."""
        self._statements.append((sql, values))

    def insert(self, row: models.Model) -> None:
        """Add the insert of a row whose key is known."""
        columns: list[str] = []
        values: list[Any] = []
        for field in row._meta.concrete_fields:
            value = field.pre_save(row, add=True)
            if not isinstance(value, DatabaseDefault):
                columns.append(field.column)
                values.append(field.get_db_prep_save(value, connection))
        self.say(_insertion(row._meta.db_table, tuple(columns)), values)

    def send(self) -> None:
        """Do all, in order, inside the transaction that is open or in one of their own.

        The latter because the server takes what comes up to the end of a pipeline as one.
        Raises Django's database errors; then nothing was written.
        """
        if not self._statements:
            return
        connection.ensure_connection()
        with connection.wrap_database_errors:
            self._send(cast("psycopg.Connection[Any]", connection.connection))

    def _send(self, raw: psycopg.Connection[Any]) -> None:
        refused: psycopg.Error | None = None
        try:
            with raw.pipeline(), psycopg.Cursor(raw) as cursor:
                try:
                    for sql, values in self._statements:
                        cursor.execute(cast("Any", sql), values, prepare=True)
                except psycopg.Error as error:
                    refused = error  # the pipeline has to be left in order, and only then raised
        except psycopg.Error as error:
            raise refused or error from None
        if refused is not None:
            raise refused


@lru_cache(maxsize=128)
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    places = ", ".join(["%s"] * len(columns))
    return f'INSERT INTO "{table}" ({names}) VALUES ({places})'  # noqa: S608 - names of our own
