"""One migrated database per test run: whoever needs one with all tables copies it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "agentsite_template"
UNFINISHED = "agentsite_unfinished"
LOCK = 4711


def database_url(socket_folder: str, name: str) -> str:
    """The address of a database of the test run's Postgres."""
    return f"postgresql://postgres@/{name}?host={socket_folder}"


def provide_template(socket_folder: str) -> str:
    """The name of the migrated database; the first worker that asks makes it, others wait."""
    with psycopg.connect(database_url(socket_folder, "postgres"), autocommit=True) as asking:
        asking.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        known = asking.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE])
        if known.fetchone() is None:
            asking.execute(f"DROP DATABASE IF EXISTS {UNFINISHED}".encode())
            asking.execute(f"CREATE DATABASE {UNFINISHED}".encode())
            _migrate(database_url(socket_folder, UNFINISHED))
            asking.execute(f"ALTER DATABASE {UNFINISHED} RENAME TO {TEMPLATE}".encode())
    return TEMPLATE


def _migrate(url: str) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    subprocess.run(
        [sys.executable, ROOT / "manage.py", "migrate", "--verbosity", "0"],
        env={**kept, "DATABASE_URL": url}, check=True, timeout=180,
    )  # fmt: skip
