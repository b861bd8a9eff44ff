"""Where the database is: the environment's address, else the agent's, else embedded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "from agentsite import settings as s; print(s.EMBEDDED, s.DATABASE_URL, s.EMBEDDED_BASE)"
ROOT = Path(__file__).resolve().parent.parent


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    """A process with this environment that asks for the settings."""
    env = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def ask(agent: Path, **environment: str) -> list[str]:
    """EMBEDDED, DATABASE_URL and EMBEDDED_BASE of a process that serves this agent."""
    run = start(AGENT_DIR=str(agent), **environment)
    assert run.returncode == 0, run.stderr
    return run.stdout.rstrip("\n").split(" ")


def ask_several(agents: Path, **environment: str) -> list[str]:
    """The same of a process that serves a folder of agents."""
    return ask(agents, AGENTS_DIR=str(agents), **environment)


def write(folder: Path, stores: dict[str, str], dotenv: str = "") -> None:
    """An agent whose `stores` block and `.env` are these."""
    folder.mkdir(exist_ok=True)
    manifest = {"name": folder.name, "version": "1.0.0", "stores": stores}
    (folder / "amodal.json").write_text(json.dumps(manifest))
    (folder / ".env").write_text(dotenv)


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


MINE = {"backend": "postgres", "postgresUrl": "postgresql://u:pw-mine@db.example/a"}
OTHER = {"connectionString": "postgresql://u:pw-other@db.example/b"}


def test_agents_that_agree_are_served_by_the_database_that_they_name(tmp_path: Path) -> None:
    write(tmp_path / "desk", MINE)
    write(tmp_path / "shop", {"connectionString": MINE["postgresUrl"]})
    write(tmp_path / "mute", {})
    assert ask_several(tmp_path)[:2] == ["False", MINE["postgresUrl"]]
    write(tmp_path / "desk", {})
    write(tmp_path / "shop", {"backend": "pglite"})
    write(tmp_path / "mute", {"dataDir": "rows"})
    assert ask_several(tmp_path) == ["True", "", str(tmp_path / "mute" / "rows")]
    write(tmp_path / "desk", {"dataDir": "../rows"})
    write(tmp_path / "shop", {"dataDir": "../rows/"})
    write(tmp_path / "mute", {"dataDir": str(tmp_path / "rows")})
    assert ask_several(tmp_path) == ["True", "", str(tmp_path / "rows")]


@pytest.mark.parametrize(
    ("stores", "dotenv"),
    [
        (OTHER, ""),
        ({}, f"DATABASE_URL={OTHER['connectionString']}"),
        ({"backend": "pglite"}, ""),
        ({"dataDir": "rows"}, ""),
    ],
)
def test_agents_that_name_different_databases_are_refused(
    tmp_path: Path, stores: dict[str, str], dotenv: str
) -> None:
    write(tmp_path / "desk", MINE)
    write(tmp_path / "shop", stores, dotenv)
    refused = start(AGENTS_DIR=str(tmp_path))
    assert refused.returncode == 1
    assert "The agents desk, shop name different databases" in refused.stderr
    assert "set DATABASE_URL, or let them agree" in refused.stderr
    assert "pw-" not in refused.stderr
    assert ask_several(tmp_path, DATABASE_URL=MINE["postgresUrl"])[:2] == [
        "False", MINE["postgresUrl"],
    ]  # fmt: skip
