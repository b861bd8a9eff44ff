"""Whose rows a transaction may see: the scope is said to the database itself.

Law: set for one transaction only, so that a pooled connection never carries it to
another caller. Functions of the database read it; no argument can name another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

SCOPE_SETTING = "agentsite.scope"


@contextmanager
def tenant(scope_id: str) -> Iterator[None]:
    """A transaction on behalf of one scope; the empty string is a scope of its own."""
    if not isinstance(scope_id, str):
        raise TypeError("a tenant needs a scope id; None is never all of them")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config(%s, %s, true)", [SCOPE_SETTING, scope_id])
        yield
