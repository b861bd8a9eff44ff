"""Real servers for tests: `manage.py serve` as a process, on a port of its own.

Law: a server serves whatever database it is given. `fresh_database` makes an empty one with
all tables, so that servers which are killed, or which serve other agents, disturb nobody.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.db import connections

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN = 40.0
"""Seconds; the machine may be busy with other tests."""
TEMPLATE = "agentsite_template"
_numbers = itertools.count(1)


class Server:
    """One web process. `environment` is all it sees besides PATH, HOME and LANG."""

    def __init__(self, database_url: str, folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        given = {"DATABASE_URL": database_url, "AGENTSITE_DATA_DIR": str(folder), **environment}
        heard, told = os.pipe()
        self._ready = heard
        self._log = folder / f"server-{next(_numbers)}.log"
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            self.port = int(listening.getsockname()[1])
            passed = (listening.fileno(), told)
            with self._log.open("wb") as log:
                self.process = subprocess.Popen(
                    [sys.executable, ROOT / "manage.py", "serve", "--socket", str(passed[0]),
                     "--ready", str(told), "--parent", str(os.getpid())],
                    env={**kept, **given}, cwd=folder, pass_fds=passed,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip
        os.close(told)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> Server:
        """Return once it serves."""
        heard, _, _ = select.select([self._ready], [], [], START_WITHIN)
        said = os.read(self._ready, 1) if heard else b""
        os.close(self._ready)
        self._ready = -1
        assert said, f"the server did not start:\n{self.log}"
        return self

    def kill(self) -> None:
        """As a crash would: nothing is handed over."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end; seconds until it did, in an orderly way."""
        began = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(60)
        assert code == 0, f"the server ended with {code}:\n{self.log}"
        return time.monotonic() - began

    def close(self) -> None:
        """End it if it still lives."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


def database_url(socket_folder: str, name: str) -> str:
    """The address of a database of the test run's Postgres."""
    return f"postgresql://postgres@/{name}?host={socket_folder}"


def test_database_url() -> str:
    """The address of this worker's test database, once pytest-django has made it."""
    given = connections["default"].settings_dict
    return database_url(str(given["HOST"]), str(given["NAME"]))


test_database_url.__test__ = False  # type: ignore[attr-defined]  # it is no test


@contextmanager
def fresh_database(socket_folder: str) -> Iterator[str]:
    """The address of a database of one's own, with all tables and nothing in them."""
    name = f"lab_{os.getpid()}_{next(_numbers)}"
    admin = database_url(socket_folder, "postgres")
    with psycopg.connect(admin, autocommit=True) as asking:
        _provide_template(asking, socket_folder)
        asking.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}'.encode())
    try:
        yield database_url(socket_folder, name)
    finally:
        with psycopg.connect(admin, autocommit=True) as asking:
            asking.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _provide_template(asking: psycopg.Connection, socket_folder: str) -> None:
    """Migrate one database per test run; the workers copy it."""
    asking.execute("SELECT pg_advisory_lock(4711)")
    try:
        known = asking.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE])
        if known.fetchone() is None:
            asking.execute(b"CREATE DATABASE agentsite_unfinished")
            _migrate(database_url(socket_folder, "agentsite_unfinished"))
            asking.execute(f"ALTER DATABASE agentsite_unfinished RENAME TO {TEMPLATE}".encode())
    finally:
        asking.execute("SELECT pg_advisory_unlock(4711)")


def _migrate(url: str) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    subprocess.run(
        [sys.executable, ROOT / "manage.py", "migrate", "--verbosity", "0"],
        env={**kept, "DATABASE_URL": url}, check=True, timeout=60,
    )  # fmt: skip
