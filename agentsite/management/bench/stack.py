"""What is measured: Postgres, the fake model and one web process, all of this run alone.

Law: production settings on loopback, durability on, data in a folder that is removed; every
process ends with the one that measures.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
from cryptography.fernet import Fernet

from agentsite.embedded import attach
from agentsite.manifest.env import read_environ

MAIN, SIMPLE = "claude-sonnet-4-5", "claude-haiku-4-5"
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "DJANGO_SETTINGS_MODULE")


class Stack:
    """The running processes; `url` is the server's, `fake_url` the model's."""

    def __init__(
        self, root: Path, folder: Path, data: Path, database: Path, fake: subprocess.Popen[str]
    ):
        self._root, self._folder, self._data, self._database = root, folder, data, database
        self._fake = fake
        self.fake_url = fake.stdout.readline().strip() if fake.stdout is not None else ""
        self._server: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def server(self) -> psutil.Process:
        """The web process."""
        if self._server is None:
            raise RuntimeError("the server is not running")
        return psutil.Process(self._server.pid)

    @property
    def model(self) -> psutil.Process:
        """The fake model."""
        return psutil.Process(self._fake.pid)

    def postgres(self) -> psutil.Process:
        """The database's first process, the parent of all others."""
        with self.connect() as connection:
            main = psutil.Process(connection.info.backend_pid).parent()
        if main is None:
            raise RuntimeError("the database has no first process")
        return main

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection beside the server's, for looking."""
        return psycopg.connect(
            host=str(self._database), user="postgres", dbname="postgres", autocommit=True
        )

    def prepare(self) -> None:
        """Write the agent and make the tables."""
        agent = self._folder / "agent"
        agent.mkdir()
        models = {
            tier: {"provider": "anthropic", "model": name, "baseUrl": self.fake_url}
            for tier, name in (("main", MAIN), ("simple", SIMPLE))
        }
        manifest = {"name": "bench", "version": "1.0.0", "models": models}
        (agent / "amodal.json").write_bytes(msgspec.json.encode(manifest))
        command = [sys.executable, str(self._root / "manage.py"), "migrate", "--verbosity", "0"]
        subprocess.run(command, env=self._environment(), check=True)

    def add_store(self, spec: dict[str, Any]) -> None:
        """Give the agent a store; servers that are started later have it."""
        folder = self._folder / "agent" / "stores"
        folder.mkdir(exist_ok=True)
        (folder / f"{spec['name']}.json").write_bytes(msgspec.json.encode(spec))

    def add_automation(self, name: str, file: dict[str, Any]) -> None:
        """The same with an automation."""
        folder = self._folder / "agent" / "automations"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(file))

    def start_server(self) -> None:
        """Start the web process, if there is none, and wait until it serves."""
        if self._server is not None:
            return
        listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        signs, given = os.pipe()
        self._server = subprocess.Popen(
            [sys.executable, str(self._root / "manage.py"), "serve",
             "--socket", str(listening.fileno()), "--parent", str(os.getpid()),
             "--ready", str(given)],
            env=self._environment(), pass_fds=[listening.fileno(), given],
        )  # fmt: skip
        os.close(given)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.close()
        ready = os.read(signs, 1)
        os.close(signs)
        if not ready:
            raise RuntimeError("the server did not start; its reason is above")

    def stop_server(self) -> None:
        """End the web process in order."""
        if self._server is not None:
            stop(self._server)
            self._server = None

    def _environment(self) -> dict[str, str]:
        mine = read_environ()
        return {
            **{name: mine[name] for name in _KEPT if name in mine},
            "AGENT_ENV": "production",
            "AGENT_AUTH": "none",
            "HOST": "127.0.0.1",
            "ALLOWED_HOSTS": "127.0.0.1",
            "SECRET_KEY": Fernet.generate_key().decode(),
            "AGENT_SECRET_KEYS": Fernet.generate_key().decode(),
            "AGENTSITE_DATA_DIR": str(self._data),
            "AGENT_DIR": str(self._folder / "agent"),
            "LOG_LEVEL": "ERROR",
        }


def stop(process: subprocess.Popen[Any]) -> None:
    """Interrupt a child and wait; kill it when it does not end."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(root: Path, kept: Path | None = None) -> Iterator[Stack]:
    """Everything but the server, which each measurement starts afresh.

    `kept` is a data folder that was there before and stays.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o711)
        data = kept or folder / "data"
        database = attach(data / "postgres")
        stack.callback(database.release)
        fake = subprocess.Popen(
            [sys.executable, "-m", "agentsite.management.bench.fake", "--parent", str(os.getpid())],
            cwd=root, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(stop, fake)
        whole = Stack(root, folder, data, database.host, fake)
        stack.callback(whole.stop_server)
        whole.prepare()
        yield whole
