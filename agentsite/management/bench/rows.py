"""Data for measurements, made by the database itself: many documents, many messages.

Law: documents go through the same triggers as anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]
STEP = 25_000
SCOPE = "bench-stores"
MESSAGES_EACH = 50
"""Of a session."""
WORDS = 4_000
"""Different words that messages are made of; the first are in most, the last in few."""
STORE = {
    "name": "orders",
    "entity": {
        "name": "Order",
        "key": "{number}",
        "schema": {
            "number": {"type": "string"},
            "state": {"type": "enum", "values": ["new", "open", "sent", "lost"]},
            "city": {"type": "string"},
            "total": {"type": "number"},
            "placed": {"type": "datetime"},
        },
    },
}

DOCUMENTS = """
INSERT INTO stores_app_document (agent, scope_id, store, key, version, shared, payload)
SELECT 'bench', %s, 'orders', 'n-' || n, 1, false, jsonb_build_object(
    'number', 'n-' || n,
    'state', (ARRAY['new', 'open', 'open', 'sent', 'sent', 'sent', 'sent', 'lost'])[1 + n %% 8],
    'city', 'city ' || (n * 7919::bigint) %% 500,
    'total', ((n * 104729::bigint) %% 1000003) / 100.0,
    'placed', to_char(timestamptz '2020-01-01' + (n * 15485863::bigint) %% 150000000
        * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
FROM generate_series(%s::int, %s::int) n
"""
SESSIONS = """
INSERT INTO sessions_app_session SELECT (jsonb_populate_record(s, jsonb_build_object(
    'id', 'sess_bench' || n, 'title', 'Conversation ' || n,
    'updated_at', now() - n * interval '1 minute'))).*
FROM sessions_app_session s, generate_series(1, %s::int) n WHERE s.id = %s
"""
RUNS = """
INSERT INTO sessions_app_run SELECT (jsonb_populate_record(r, jsonb_build_object(
    'id', 'run_bench' || n, 'session_id', 'sess_bench' || n))).*
FROM sessions_app_run r, generate_series(1, %s::int) n WHERE r.session_id = %s
"""
# A word's number is the product of two random ones: few words are frequent, most are rare.
MESSAGES = """
INSERT INTO sessions_app_message
    (id, session_id, run_id, attempt, scope_id, position, role, parts, aside, partial, created_at)
SELECT 'msg_bench' || n, 'sess_bench' || s, 'run_bench' || s, r.attempt, %s, 10 + n,
    CASE n %% 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
    json_build_array(json_build_object('kind', 'text', 'text', (
        SELECT string_agg('word' || floor(random() * random() * %s::int)::int, ' ')
        FROM generate_series(1, 30 + n * 0)))), '', false, now() - s * interval '1 minute'
FROM generate_series(%s::int, %s::int) n
CROSS JOIN LATERAL (SELECT 1 + n / %s::int AS s) place
JOIN sessions_app_run r ON r.id = 'run_bench' || s
"""


def fill_store(connect: Callable[[], Connection], count: int) -> None:
    """So many orders in one scope, by two connections at once."""
    starts = list(range(1, count + 1, STEP))

    def fill(mine: list[int]) -> None:
        with connect() as connection:
            for start in mine:
                values = [SCOPE, start, min(start + STEP - 1, count)]
                connection.execute(DOCUMENTS.encode(), values)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(fill, (starts[::2], starts[1::2])))


def settle(connection: Connection) -> None:
    """What a database does in time by itself: statistics, and the first checkpoint."""
    for table in ("stores_app_document", "stores_app_documentvalue"):
        connection.execute(f"VACUUM ANALYZE {table}".encode())
    connection.execute("CHECKPOINT")


def fill_sessions(connection: Connection, count: int, session_id: str) -> None:
    """So many messages in the sessions of one scope, after the pattern of one that is there."""
    sessions = count // MESSAGES_EACH + 1
    connection.execute(SESSIONS.encode(), [sessions, session_id])
    connection.execute(RUNS.encode(), [sessions, session_id])
    for start in range(0, count, STEP):
        end = min(start + STEP, count) - 1
        values = [SCOPE, WORDS, start, end, MESSAGES_EACH]
        with connection.transaction():  # runs that have ended take no messages
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(MESSAGES.encode(), values)
    for table in ("session", "run", "message"):
        connection.execute(f"VACUUM ANALYZE sessions_app_{table}".encode())
