"""Row-level security costs no index: what callers list is found by one, among a hundred thousand.

Law: plans are asked of the very statements that our code sends, as the tenant role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from agentsite.rows.tenancy import tenant
from memory_app.actions import Partition, list_entries
from sessions_app.models import Session
from sessions_app.reading import list_sessions
from stores_app.listing import list_documents, read_query
from stores_app.places import find_place
from tests.requirements import requirement
from tests.rows.made_rows import without_checks
from tests.stores_app.conftest import make_specs

ROWS = 100_000
SCOPES = 100
FILL = (
    "INSERT INTO sessions_app_session (id, agent, scope_id, session_type, title, tags, metadata,"
    " status, automation, provider, model, message_count, cost_micros, cost_known, reserved_seq,"
    " input, cache_read, cache_write, cache_write_1h, output, reasoning)"
    " SELECT 'sess_' || n, 'desk', 's' || n %% {scopes}, 'chat', '', '[]', '{{}}', 'active', '',"
    " '', '', 1, 0, true, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, %s) n",
    "INSERT INTO memory_app_memoryentry (id, agent, scope_id, content, category, source_session,"
    " source_run) SELECT md5(n::text), 'desk', 's' || n %% {scopes}, 'x', '', '', ''"
    " FROM generate_series(1, %s) n",
    "INSERT INTO stores_app_document (agent, scope_id, store, key, version, payload, shared)"
    " SELECT 'desk', 's' || n %% {scopes}, 'orders', n::text, 1, '{{}}', false"
    " FROM generate_series(1, %s / 5) n",
    "INSERT INTO stores_app_documentvalue (document_id, slot, scope_id, number_value, shared)"
    " SELECT d.id, stores_slot('desk', 'orders', path), d.scope_id, d.key::int, false"
    " FROM stores_app_document d, unnest(ARRAY['total', 'a', 'b', 'c', 'd']) path LIMIT %s",
)
TABLES = (
    "sessions_app_session",
    "memory_app_memoryentry",
    "stores_app_document",
    "stores_app_documentvalue",
)


@pytest.fixture
def _many(db: None) -> None:
    """A hundred thousand rows in each table, of a hundred scopes."""
    without_checks()
    with connection.cursor() as cursor:
        for words in FILL:
            cursor.execute(words.format(scopes=SCOPES), [ROWS])
        cursor.execute(f"ANALYZE {', '.join(TABLES)}")


@contextmanager
def gathered() -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent meanwhile."""
    sent: list[tuple[str, Any]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "WITH")) and "set_config" not in sql:
            sent.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield sent


def explain(sent: list[tuple[str, Any]]) -> str:
    """The plans of statements."""
    lines = []
    with tenant("s7"), connection.cursor() as cursor:
        for sql, params in sent:
            cursor.execute(f"EXPLAIN {sql}", params)
            lines += [str(row[0]) for row in cursor.fetchall()]
    return "\n".join(lines)


def list_orders() -> object:
    """A page of documents, chosen and sorted by a value."""
    place = find_place("desk", "s7", make_specs(), "orders")
    asked = read_query(place, filter={"total": {"$gt": 500}}, sort="-total", limit=20)
    return list_documents(place, asked).documents


def list_unfiltered() -> object:
    """The newest sessions, with the filter of the program left out."""
    with tenant("s7"):
        return Session.objects.all().page(None, 20)


QUESTIONS: dict[str, Callable[[], object]] = {
    "sessions": lambda: list_sessions("s7", {"limit": 20})[0],
    "sessions without a filter": list_unfiltered,
    "memory": lambda: list_entries(Partition("desk", "s7")),
    "documents by a value": list_orders,
}


@requirement("scope.indexes")
@pytest.mark.usefixtures("_many")
def test_what_callers_list_is_found_by_an_index() -> None:
    for name, question in QUESTIONS.items():
        with gathered() as sent, tenant("s7"):
            assert question(), name
        plan = explain(sent)
        assert "Index" in plan, f"{name}\n{plan}"
        assert not any(f"Seq Scan on {table}" in plan for table in TABLES), f"{name}\n{plan}"
        assert "InitPlan" in plan, f"no policy was asked: {name}\n{plan}"
