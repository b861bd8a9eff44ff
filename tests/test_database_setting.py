"""Where the database is: the environment's address, else the agent's, else embedded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "from agentsite import settings as s; print(s.EMBEDDED, s.DATABASE_URL, s.EMBEDDED_BASE)"
ROOT = Path(__file__).resolve().parent.parent


def ask(agent: Path, **environment: str) -> list[str]:
    """EMBEDDED, DATABASE_URL and EMBEDDED_BASE of a process with this environment."""
    env = {"PATH": "/usr/bin:/bin", "AGENT_DIR": str(agent), **environment}
    run = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return run.stdout.rstrip("\n").split(" ")


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    (tmp_path / "amodal.json").write_text(
        json.dumps(
            {
                "name": "a",
                "version": "1.0.0",
                "stores": {"backend": "postgres", "postgresUrl": "postgresql://u:p@db.example/a"},
            }
        )
    )
    return tmp_path


def test_the_agents_address_is_used(agent: Path) -> None:
    assert ask(agent)[:2] == ["False", "postgresql://u:p@db.example/a"]


def test_the_environment_wins_over_the_agents_address(agent: Path) -> None:
    mine = "postgresql://u:p@other.example/b"
    assert ask(agent, DATABASE_URL=mine)[:2] == ["False", mine]


def test_an_agents_data_folder_is_where_the_embedded_server_lives(tmp_path: Path) -> None:
    manifest = {"name": "a", "version": "1.0.0", "stores": {"dataDir": "rows"}}
    (tmp_path / "amodal.json").write_text(json.dumps(manifest))
    assert ask(tmp_path) == ["True", "", str(tmp_path / "rows")]
