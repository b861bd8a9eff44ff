"""What was said in earlier sessions of a partition, found by words.

Law: the search is a function of the database (migration 0003) that takes the scope from
the transaction and from nowhere else. Expired sessions are as good as deleted.
"""

from __future__ import annotations

import datetime as dt

import msgspec
from django.db import connection

from agentsite.rows.tenancy import tenant
from sessions_app.reading import first_words

TITLE_CHARS = 80
TIMEOUT_MS = 5_000


class FoundSession(msgspec.Struct, frozen=True):
    """A session and the passage of it that fits best."""

    session_id: str
    title: str
    said_at: dt.datetime
    role: str
    snippet: str


def search_sessions(
    agent: str, scope_id: str, but_session: str, query: str, limit: int
) -> list[FoundSession]:
    """Sessions with the words of `query`, those with all of them first; not `but_session`.

    Quotation marks, `or` and a leading minus mean what they mean in web searches.
    """
    with tenant(scope_id):
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(TIMEOUT_MS)])
            cursor.execute(
                "SELECT session_id, title, said_at, role, snippet"
                " FROM agentsite_search_sessions(%s, %s, %s, %s)",
                [agent, but_session, query, limit],
            )
            found = [FoundSession(*row) for row in cursor.fetchall()]
        untitled = [each.session_id for each in found if not each.title]
        words = first_words(untitled) if untitled else {}
    return [
        each
        if each.title
        else msgspec.structs.replace(each, title=_shorten(words.get(each.session_id, "")))
        for each in found
    ]


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1]}…"
