"""Statements that leave together: one round trip, prepared by the server, one transaction.

Law: nothing is sent before all of it was said, and nothing of it counts unless all of it does.
An insert writes what `save(force_insert=True)` writes, without compiling it anew each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.expressions import DatabaseDefault

logger = logging.getLogger(__name__)

NONE: Mapping[str, float] = MappingProxyType({})
PREPARE_AFTER = 5
"""Uses; those of this module are prepared at the first."""

AS_THEY_ARE = (
    models.BigIntegerField,
    models.BooleanField,
    models.CharField,
    models.FloatField,
    models.ForeignKey,
    models.IntegerField,
    models.TextField,
)
"""Fields whose values the driver takes as the attribute holds them."""


Written = tuple[str, str, "models.Field[Any, Any] | None"]


class Statement(NamedTuple):
    """What is sent, and what to raise when it changes no row."""

    sql: str
    values: Sequence[Any]
    refusal: Exception | None


first_words: ContextVar[Statement | None] = ContextVar("first_words", default=None)
"""What the transaction that is open has to hear before anything else (`tenancy`)."""


BEGIN, COMMIT = Statement("BEGIN", (), None), Statement("COMMIT", (), None)


class Together:
    """Collects statements; `send` does them. No results: what must be read is asked apart."""

    def __init__(self) -> None:
        self._statements: list[Statement] = []

    def say(self, sql: str, values: Sequence[Any], refusal: Exception | None = None) -> None:
        """Add a statement; its values are bound on the server.

        `refusal` is raised when it changes nothing. That needs a transaction around it, which
        undoes the others.
        """
        self._statements.append(Statement(sql, values, refusal))

    def insert(self, row: models.Model, from_now: Mapping[str, float] = NONE) -> None:
        """Add the insert of a row; its key is known, or made by the database.

        `from_now` are columns that get the time of the database and so many seconds more.
        """
        columns: list[str] = []
        values: list[Any] = []
        here = connections[DEFAULT_DB_ALIAS]  # once: `connection` looks it up for each attribute
        made = row._meta.auto_field
        if made is not None and row.pk is not None:
            columns.append(made.column)
            values.append(row.pk)
        for column, name, field in _fields(type(row)):
            value = getattr(row, name) if field is None else field.pre_save(row, add=True)
            if column not in from_now and not isinstance(value, DatabaseDefault):
                columns.append(column)
                values.append(value if field is None else field.get_db_prep_save(value, here))
        values += map(float, from_now.values())
        self.say(_insertion(row._meta.db_table, tuple(columns), tuple(from_now)), values)

    def send(self, sent: Callable[[], None] | None = None) -> None:
        """Do all, in order, inside the transaction that is open or in one of their own.

        The latter because the server takes what comes up to the end of a pipeline as one.
        With `sent` they are all of the transaction: where nothing else began it, it is committed
        in the same trip. `sent` is called while the database works, must not touch it, and what it
        raises is logged. Raises Django's database errors, or a refusal; then nothing was written.
        """
        if not self._statements:
            return
        if sent is not None and any(each.refusal is not None for each in self._statements):
            raise ValueError("what is committed in the same trip cannot be refused afterwards")
        connection.ensure_connection()
        with connection.wrap_database_errors:
            self._send(cast("psycopg.Connection[Any]", connection.connection), sent)

    def _send(self, raw: psycopg.Connection[Any], sent: Callable[[], None] | None) -> None:
        _preparing(raw)
        first = first_words.get()
        whole = first is not None and sent is not None
        statements = self._statements
        if first is not None:
            raw.autocommit = True  # else the driver begins, and waits for the answer
            statements = [BEGIN, first, *statements, *([COMMIT] if whole else [])]
        plain = psycopg.Cursor(raw)
        cursors = [plain if each.refusal is None else psycopg.Cursor(raw) for each in statements]
        failed: psycopg.Error | None = None
        try:
            with raw.pipeline():
                try:
                    for cursor, each in zip(cursors, statements, strict=True):
                        cursor.execute(cast("Any", each.sql), each.values, prepare=True)
                    if sent is not None:
                        _tell(sent)
                except psycopg.Error as error:
                    failed = error  # the pipeline has to be left in order, and only then raised
        except psycopg.Error as error:
            raise failed or error from None
        if failed is not None:
            raise failed
        if not whole:  # else what might still follow begins another transaction
            first_words.set(None)
        _refuse(cursors, statements)


def fetch(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Do one statement, prepared by the server, and return its rows; alone it is a transaction.

    For those who act for all. In a scope's transaction it is refused before that has heard its
    role, and the role's own afterwards. Raises Django's database errors.
    """
    if first_words.get() is not None:
        raise RuntimeError("this transaction has not heard on whose behalf it is")
    connection.ensure_connection()
    with connection.wrap_database_errors:
        raw = _preparing(cast("psycopg.Connection[Any]", connection.connection))
        return psycopg.Cursor(raw).execute(cast("Any", sql), values, prepare=True).fetchall()


def _preparing(raw: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    if raw.prepare_threshold is None:
        raw.prepare_threshold = PREPARE_AFTER  # Django switches preparing off
    return raw


def _refuse(cursors: Sequence[psycopg.Cursor[Any]], statements: Sequence[Statement]) -> None:
    for cursor, each in zip(cursors, statements, strict=True):
        if each.refusal is not None and cursor.rowcount == 0:
            raise each.refusal


def _tell(sent: Callable[[], None]) -> None:
    try:
        sent()
    except Exception:  # the commit is on its way, whatever whoever is told makes of it
        logger.exception("what has to be told while the database commits was not")


@lru_cache(maxsize=128)
def _fields(model: type[models.Model]) -> tuple[Written, ...]:
    """Column and attribute of each field that we write, and the field where it has a say.

    Without a key that the database makes, unless the row has one.
    """
    return tuple(
        (field.column, field.attname, None if type(field) in AS_THEY_ARE else field)
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField)
    )


@lru_cache(maxsize=128)
def _insertion(table: str, columns: tuple[str, ...], from_now: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in (*columns, *from_now))
    later = ["now() + %s * interval '1 second'"] * len(from_now)
    places = ", ".join(["%s"] * len(columns) + later)
    return f'INSERT INTO "{table}" ({names}) VALUES ({places})'  # noqa: S608 - names of our own
