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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.db import connections

from tests.fork_server import PASSED, fork_server
from tests.templates import ROOT, database_url, provide_template

START_WITHIN = 90.0
"""Seconds; the machine may be busy with other tests."""
_numbers = itertools.count(1)


class Server:
    """One web process of the program in `root`; of the environment it sees what is given."""

    def __init__(
        self, database_url: str, folder: Path, root: Path = ROOT, /, **environment: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # A known key: what a stream holds back depends on how the server's secrets begin.
        given = {"SECRET_KEY": "~" * 50, "DATABASE_URL": database_url}
        given |= {"AGENTSITE_DATA_DIR": str(folder), **environment}
        heard, told = os.pipe()
        self._ready = heard
        self._log = folder / f"server-{next(_numbers)}.log"
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            self.port = int(listening.getsockname()[1])
            with self._log.open("wb") as log:
                words = [str(root / "manage.py"), "serve", "--parent", str(fork_server().pid)]
                self.process = fork_server().fork(
                    [*words, "--socket", PASSED, "--ready", PASSED],
                    [log.fileno(), listening.fileno(), told],
                    root, folder, **kept, **given,
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
    template = provide_template(socket_folder)
    with psycopg.connect(admin, autocommit=True) as asking:
        asking.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}'.encode())
    try:
        yield database_url(socket_folder, name)
    finally:
        with psycopg.connect(admin, autocommit=True) as asking:
            asking.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
