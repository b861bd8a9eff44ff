"""`/health` and `/ready`, of a sound server and of one that lost a part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agentsite import __version__
from agentsite.jobs.leading import LEADER_LOCK
from tests.jobs.processes import Background
from tests.processes import within
from tests.server import Client, write_agents
from tests.servers import Server, fresh_database

LEADS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %s"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
OPENAI = {"provider": "openai"}
PARTS = {"server", "database", "migrations", "manifest", "listener", "scheduler", "broker"}


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """A database that a test may harm."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def lone(database: str, tmp_path: Path) -> Iterator[Client]:
    """A server of one's own."""
    agents = write_agents(tmp_path / "agents")
    running = Server(database, tmp_path / "data", AGENTS_DIR=str(agents))
    try:
        yield Client(running.wait_ready(), "")
    finally:
        running.close()


def test_health_says_what_the_process_has_in_hand(client: Client) -> None:
    said = client.get("/health", scope_id=None)
    assert set(said) == {
        "status", "version", "uptime_ms", "active_sessions", "live_runs", "automations"
    }  # fmt: skip
    assert (said["status"], said["version"]) == ("ok", __version__)
    assert said["uptime_ms"] > 0
    with client.stream("hang") as frames:
        assert any(frame.event == "tool_log" for frame in frames)
        busy = client.get("/health")
        assert busy["live_runs"] >= 1
        assert busy["active_sessions"] >= 1
        session_id = client.get("/sessions")["sessions"][0]["id"]
        client.ask("POST", f"/sessions/{session_id}/interrupt")
        assert [frame.event for frame in frames][-1] == "done"


@pytest.fixture
def beating(database: str, tmp_path: Path) -> Iterator[None]:
    """A scheduler that leads at that database."""
    beat = Background("beat", tmp_path / "beat", DATABASE_URL=database)
    try:
        with psycopg.connect(database, autocommit=True) as asking:
            assert within(60, lambda: asking.execute(LEADS, [LEADER_LOCK]).fetchone()[0]), beat.log
        yield
    finally:
        beat.close()


@pytest.mark.usefixtures("beating")
def test_a_sound_server_is_ready_and_names_a_broken_edit_and_a_lost_database(
    lone: Client, database: str, tmp_path: Path
) -> None:
    said = lone.get("/ready")
    assert said == {"status": "ready", "checks": {part: {"ok": True} for part in PARTS}}
    assert lone.ask("HEAD", "/ready").status == 200
    manifest = tmp_path / "agents" / "trials" / "amodal.json"
    sound = manifest.read_text()
    manifest.write_text('{"name": 7, "secret": "hunter2"}')
    lone.ask("POST", "/chat", {"message": "plain", "agentId": "trials"})

    def fails(part: str) -> bool:
        lone.ask("POST", "/chat", {"message": "plain", "agentId": "trials"})
        return lone.ask("GET", "/ready").json.get("failing") == [part]

    assert within(10, lambda: fails("manifest"))
    assert within(10, lambda: "The files of trials have errors:" in lone.server.log)
    assert "hunter2" not in lone.server.log
    assert "desk: No model key is set" in lone.server.log
    answer = lone.ask("GET", "/ready")
    assert (answer.status, answer.code) == (503, "not_ready")
    assert "trials" in answer.json["checks"]["manifest"]["problem"]
    assert b"hunter2" not in answer.body
    manifest.write_text(sound)
    assert within(10, lambda: not fails("manifest"))

    admin, _, name = database.replace("/lab_", "/postgres?lab_").partition("?lab_")
    name = "lab_" + name.split("?")[0]
    admin += "?" + database.partition("?")[2]
    with psycopg.connect(admin, autocommit=True) as asking:
        asking.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        asking.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       " WHERE datname = %s", [name])  # fmt: skip
        try:
            assert within(15, lambda: {"listener", "database"} <= set(failing(lone)))
            assert lone.get("/health")["status"] == "ok"
            refused = lone.ask("GET", "/sessions")
            assert (refused.status, refused.code) == (503, "database_unavailable")
            assert database.encode() not in refused.body
        finally:
            asking.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
    sound_again = within(60, lambda: lone.ask("GET", "/ready").status == 200)
    assert sound_again, json.dumps(failing(lone))


def test_a_declared_provider_without_its_key_is_a_warning(database: str, tmp_path: Path) -> None:
    models = {
        "main": {"provider": "anthropic", "model": "m", "fallback": {**OPENAI, "model": "n"}},
        "simple": {**OPENAI, "model": "n", "baseUrl": "http://127.0.0.1:1/v1"},
    }
    agent = {"name": "keyless", "version": "1.0.0", "models": models}
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "amodal.json").write_text(json.dumps(agent))
    running = Server(
        database, tmp_path / "data", AGENT_DIR=str(tmp_path / "agent"), ANTHROPIC_API_KEY="key-a"
    )
    try:
        answer = Client(running.wait_ready(), "").ask("GET", "/ready")
    finally:
        running.close()
    assert (answer.status, answer.json["status"]) == (200, "ready")
    warnings = ["keyless: models.main.fallback has no key"]
    assert answer.json["checks"]["manifest"] == {"ok": True, "warnings": warnings}


def failing(client: Client) -> list[str]:
    """Parts that keep the server from serving."""
    found: list[str] = client.ask("GET", "/ready").json.get("failing", [])
    return found
