"""What was said in earlier sessions of a partition, found by words.

Law: the search is a function of the database (migration 0003) that takes the scope from
the transaction and from nowhere else. Expired sessions are as good as deleted.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from agentsite.rows.tenancy import tenant
from sessions_app.reading import first_words

TITLE_CHARS = 80
TIMEOUT_MS = 5_000
MOST_SPOKEN = 1_000
"""Messages that the operators' search looks at."""
FREQUENT = 5
"""Words that more of a thousand new messages have are looked for from the newest on."""


class TooManyWords(Exception):
    """A search that did not end in time."""


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


SAMPLE = """
SELECT count(*) FROM (
    SELECT m.words FROM (
        SELECT id FROM sessions_app_session WHERE %(scope)s::text IS NULL OR scope_id = %(scope)s
        ORDER BY updated_at DESC, id DESC LIMIT 100) newest
    JOIN sessions_app_message m ON m.session_id = newest.id WHERE m.words IS NOT NULL LIMIT 1000
) sampled WHERE words @@ websearch_to_tsquery('pg_catalog.english', %(query)s)
"""
# Session by session, or the planner reads all messages there are.
NEWEST = """
SELECT said.session_id, said.run_id FROM (
    SELECT id FROM sessions_app_session WHERE %(scope)s::text IS NULL OR scope_id = %(scope)s
    ORDER BY updated_at DESC, id DESC LIMIT 1000) newest
CROSS JOIN LATERAL (SELECT m.session_id, m.run_id FROM sessions_app_message m
    WHERE m.session_id = newest.id
        AND m.words @@ websearch_to_tsquery('pg_catalog.english', %(query)s) LIMIT 50) said
LIMIT %(most)s
"""
INDEXED = """
SELECT session_id, run_id FROM sessions_app_message
WHERE words @@ (websearch_to_tsquery('pg_catalog.english', %(query)s) && %(mark)s::tsquery)
    AND (%(scope)s::text IS NULL OR scope_id = %(scope)s) LIMIT %(most)s
"""
OPERATORS_TIMEOUT_MS = 1_500
MARK = "SELECT chr(39) || chr(1) || hashtextextended(%s, 0)::text || chr(39)"


# The same among runs of a stretch of time.
NEWEST_BETWEEN = """
SELECT said.session_id, said.run_id FROM (
    SELECT id FROM sessions_app_run WHERE created_at BETWEEN %(start)s AND %(end)s
        AND (%(scope)s::text IS NULL OR scope_id = %(scope)s)
    ORDER BY created_at DESC, id DESC LIMIT 1000) newest
CROSS JOIN LATERAL (SELECT m.session_id, m.run_id FROM sessions_app_message m
    WHERE m.run_id = newest.id
        AND m.words @@ websearch_to_tsquery('pg_catalog.english', %(query)s) LIMIT 1) said
LIMIT %(most)s
"""
INDEXED_BETWEEN = """
SELECT m.session_id, m.run_id FROM sessions_app_message m
JOIN sessions_app_run r ON r.id = m.run_id
WHERE m.words @@ (websearch_to_tsquery('pg_catalog.english', %(query)s) && %(mark)s::tsquery)
    AND (%(scope)s::text IS NULL OR m.scope_id = %(scope)s)
    AND m.created_at >= %(start)s AND r.created_at BETWEEN %(start)s AND %(end)s LIMIT %(most)s
"""
Span = tuple[dt.datetime, dt.datetime]


def find_spoken(
    query: str, scope_id: str | None, span: Span | None = None
) -> list[tuple[str, str]]:
    """Session and run of messages that have all words of `query`; of one scope, or of all (None).

    For operators: acts for all scopes. Words that most messages have are found in the newest
    thousand sessions, all others everywhere; `MOST_SPOKEN` messages at the most. With a `span`
    only runs that began in it are looked at. Raises `TooManyWords` where even that takes too long.
    """
    try:
        return _find_spoken(query, scope_id, span)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooManyWords(query) from error
        raise


def _find_spoken(query: str, scope_id: str | None, span: Span | None) -> list[tuple[str, str]]:
    asked: dict[str, Any] = {"query": query[:500], "scope": scope_id, "mark": ""}
    asked |= {"most": MOST_SPOKEN, **dict(zip(("start", "end"), span or (None, None), strict=True))}
    newest, indexed = (NEWEST_BETWEEN, INDEXED_BETWEEN) if span else (NEWEST, INDEXED)
    with transaction.atomic(), connection.cursor() as cursor:
        timeout = str(OPERATORS_TIMEOUT_MS)
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [timeout])
        cursor.execute("SELECT numnode(websearch_to_tsquery('pg_catalog.english', %s))", [query])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(SAMPLE, asked)
        frequent = int(cursor.fetchone()[0]) > FREQUENT
        if scope_id is not None:
            cursor.execute(MARK, [scope_id])
            asked["mark"] = str(cursor.fetchone()[0])
        # With a bound on the rows the planner hopes to find them soon by reading from the start.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(newest if frequent else indexed, asked)
        return [(str(session), str(run)) for session, run in cursor.fetchall()]


TITLED = """
SELECT id FROM (SELECT id, title FROM sessions_app_session
    ORDER BY updated_at DESC, id DESC LIMIT %s) newest WHERE title ILIKE %s
"""


def find_titled(part: str, among: int) -> list[str]:
    """Ids of the newest sessions whose title has this in it. For operators."""
    pattern = "%" + part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    with connection.cursor() as cursor:
        cursor.execute(TITLED, [among, pattern])
        return [str(row[0]) for row in cursor.fetchall()]
