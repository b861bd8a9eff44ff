"""Foreign and unknown ids: the same status, the same body, the same questions to the database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.queries import Statements, log_statements
from tests.requirements import requirement
from tests.server import Client, session_of, write_agents
from tests.servers import Server, fresh_database

ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/sessions/{}", None),
    ("GET", "/sessions/{}/state", None),
    ("GET", "/sessions/{}/events", None),
    ("GET", "/sessions/{}/attachments/att_x", None),
    ("GET", "/sessions/history/{}", None),
    ("PATCH", "/sessions/{}", {"title": "Mine"}),
    ("DELETE", "/sessions/{}", None),
    ("POST", "/sessions/{}/interrupt", {}),
    ("POST", "/chat/sessions/{}/ask-user-response", {"approved": True}),
)


@pytest.fixture
def logged(postgres: str, tmp_path: Path) -> Iterator[tuple[Server, Statements]]:
    """A server whose questions to its database are written down."""
    with fresh_database(postgres) as address:
        log_statements(address)
        agents = write_agents(tmp_path / "agents")
        server = Server(address, tmp_path / "data", AGENTS_DIR=str(agents))
        try:
            yield server.wait_ready(), Statements(address)
        finally:
            server.close()


@requirement("scope.foreign-ids")
def test_foreign_and_unknown_ids_cannot_be_told_apart(logged: tuple[Server, Statements]) -> None:
    server, statements = logged
    session_id = session_of(Client(server, "mine").say("Hello"))
    stranger = Client(server, f"stranger-{uuid.uuid4().hex}")
    unknown = session_id[:-1] + ("0" if session_id[-1] != "0" else "1")
    for method, route, body in ROUTES:
        answers = []
        # The first of all finds nothing prepared, nor the scope looked up.
        for name in (unknown, session_id, unknown, session_id):
            place = statements.mark()
            answer = stranger.ask(method, route.format(name), body)
            sent = statements.of_scope(stranger.scope, place)
            answers.append((answer.status, answer.body.replace(name.encode(), b""), len(sent)))
        assert answers[2] == answers[3], (method, route)
        assert answers[1][:2] == answers[0][:2], (method, route)
        assert answers[2][0] == 404, (method, route, answers)
        assert answers[2][2] >= 3, (method, route, answers)
    assert Client(server, "mine").get(f"/sessions/{session_id}")["id"] == session_id
