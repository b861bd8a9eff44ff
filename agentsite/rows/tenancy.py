"""On whose behalf rows are touched, said to the database itself.

Law: whoever touches rows in a unit has named a scope, or has said why all are meant; nothing
is ever "all" by omission. Role and scope are set for one transaction only, so that a pooled
connection never carries them to another caller, and no argument can name another scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, NamedTuple, cast

import psycopg
from django.conf import settings
from django.db import connection, transaction
from psycopg import errors, generators, pq, sql

from agentsite.rows.together import Statement, Together, first_words

SCOPE_SETTING = "agentsite.scope"
PREFIX = "s:"
"""Before every scope: on a pooled connection a setting that was never set comes back as ''."""
SWITCH = f"SELECT set_config('{SCOPE_SETTING}', %s, true)"
ENTER = f"SELECT set_config('role', %s, true), set_config('{SCOPE_SETTING}', %s, true)"

Mode = Literal["", " ISOLATION LEVEL REPEATABLE READ, READ ONLY"]
SNAPSHOT: Mode = " ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@contextmanager
def one_moment() -> Iterator[None]:
    """A transaction in which every statement sees the same rows; in another one, a part of it.

    For those who act for all: a page whose sums must be those of its rows.
    """
    with transaction.atomic():
        if len(connection.atomic_blocks) == 1:
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION{SNAPSHOT}")
        yield


class Everyone(NamedTuple):
    """All scopes are meant: jobs, sweeps, staff. They work as the owner of the tables."""

    reason: str


class NobodyNamed(RuntimeError):
    """Rows were to be touched on nobody's behalf: a fault of ours, never "all"."""


_behalf: ContextVar[str | Everyone | None] = ContextVar("behalf", default=None)
_entered: ContextVar[str | None] = ContextVar("entered", default=None)
"""The scope of the transaction that this thread is in."""


def check_scope(scope_id: str) -> str:
    """The same. Raises `TypeError` for anything but a text that a database can hold."""
    if not isinstance(scope_id, str):
        raise TypeError("a tenant needs a scope id; None is never all of them")
    if "\x00" in scope_id:
        raise ValueError("a scope id holds no NUL")
    return scope_id


def act_for(scope_id: str) -> None:
    """From here on this task, and what it starts, acts for one scope: a request, a run."""
    _behalf.set(check_scope(scope_id))


@contextmanager
def acting_for(scope_id: str) -> Iterator[None]:
    """The same for a block."""
    yield from _acting(check_scope(scope_id))


@contextmanager
def acting_for_all(reason: str) -> Iterator[None]:
    """A block that means all scopes; `reason` says why it may."""
    if not reason:
        raise ValueError("to act for all needs a reason")
    yield from _acting(Everyone(reason))


def act_for_all(reason: str) -> None:
    """The same for the rest of a task that serves the whole process."""
    _behalf.set(Everyone(reason))


def _acting(behalf: str | Everyone) -> Iterator[None]:
    before = _behalf.get()
    _behalf.set(behalf)
    try:
        yield
    finally:
        _behalf.set(before)  # no token: a generator may be closed in another context


def behalf() -> str | Everyone:
    """On whose behalf this code runs. Raises `NobodyNamed`."""
    found = _behalf.get()
    if found is None:
        raise NobodyNamed("Say on whose behalf: `acting_for(scope)`, or `acting_for_all(reason)`.")
    return found


@contextmanager
def tenant(scope_id: str, mode: Mode = "") -> Iterator[None]:
    """A transaction on behalf of one scope, as the tenant role, or a part of the one that is open.

    The empty string is a scope of its own. Raises `NobodyNamed` where another scope is acted for.
    """
    check_scope(scope_id)
    named = _behalf.get()
    if isinstance(named, str) and named != scope_id:
        raise NobodyNamed("This acts for another scope than the one it asks for.")
    inside = connection.in_atomic_block
    before = _entered.get() if inside else None
    if before == scope_id:
        yield
        return
    with transaction.atomic(), _announced(scope_id, None if inside else mode):
        _entered.set(scope_id)
        try:
            yield
        finally:
            _entered.set(before)
        if inside and not connection.needs_rollback:  # what surrounds it goes on as it was
            _say(before, None)


@contextmanager
def _announced(scope_id: str, begin: Mode | None) -> Iterator[None]:
    """Name role and scope before the first statement.

    Where all that follows leaves together, they go with it: a round trip less.
    """
    if begin != "":
        _say(scope_id, begin)
        yield
        return
    first_words.set(Statement(ENTER, [settings.DATABASE_TENANT_ROLE, PREFIX + scope_id], None))
    wrappers = connection.execute_wrappers

    def say_first(execute: Callable[..., Any], *given: Any) -> Any:
        if first_words.get() is not None:
            _say(scope_id, begin)
            first_words.set(None)
        wrappers.remove(say_first)
        return execute(*given)

    wrappers.append(say_first)
    try:
        yield
    finally:
        first_words.set(None)
        if say_first in wrappers:
            wrappers.remove(say_first)


def switch(scope_id: str, together: Together | None = None) -> None:
    """Let the transaction go on for another scope, now or as part of what is sent together.

    Only where all are acted for; outside of `tenant` the owner may write every row as it is.
    """
    if _entered.get() in (None, check_scope(scope_id)):
        return
    if not isinstance(behalf(), Everyone):
        raise NobodyNamed("Only who acts for all may go from one scope to the next.")
    sending = together or Together()
    sending.say(SWITCH, [PREFIX + scope_id])
    if together is None:
        sending.send()
    _entered.set(scope_id)


@cache
def _role() -> bytes:
    return b'"' + str(settings.DATABASE_TENANT_ROLE).replace('"', '""').encode() + b'"'


def _say(scope_id: str | None, begin: Mode | None) -> None:
    """Begin (unless `begin` is None) and name role and scope, in one round trip.

    Plain words without a snapshot, so that the first query still decides what is seen.
    """
    with connection.wrap_database_errors:
        connection.ensure_connection()
        raw = cast("psycopg.Connection[Any]", connection.connection)
        if scope_id is None:
            role, told = b"NONE", b"''"
        else:
            role, told = _role(), sql.Literal(PREFIX + scope_id).as_bytes(raw)
        words = b"SET LOCAL ROLE %b; SET LOCAL %b = %b" % (role, SCOPE_SETTING.encode(), told)
        if begin is not None:
            words = b"BEGIN%b; %b" % (begin.encode(), words)
        _execute(raw, words)


def _execute(raw: psycopg.Connection[Any], words: bytes) -> None:
    """Several commands at once, which the driver's own cursors would begin a transaction for."""
    raw.pgconn.send_query(words)
    for result in raw.wait(generators.execute(raw.pgconn)):
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, encoding="utf-8")
