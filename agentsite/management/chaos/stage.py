"""What is killed: Postgres and the web processes; and what is not: the fake model.

Law: every process ends with this one, also after a SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import psycopg
from cryptography.fernet import Fernet

from agentsite.embedded import Attachment, attach
from agentsite.management.chaos.nursery import Nursery
from agentsite.management.chaos.options import Options
from agentsite.management.chaos.web import START_WITHIN, Kill, Web
from agentsite.manifest.env import read_environ

KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "DJANGO_SETTINGS_MODULE")


class Stage:
    """All processes. Enter it to start them; leaving ends them."""

    def __init__(self, root: Path, folder: Path, options: Options) -> None:
        self.root, self.folder = root, folder
        self.options = options
        self.kills: list[Kill] = []
        self.webs: list[Web] = []
        self.fake_url = ""
        self._stack = contextlib.ExitStack()
        self._base = folder / "data" / "postgres"
        self._attached: Attachment | None = None

    def __enter__(self) -> Stage:
        with self._stack:  # what was started ends if the rest does not start
            self._attached = attach(self._base)
            self._stack.callback(self._release)
            self._start_fake()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _release(self) -> None:
        if self._attached is not None:
            self._attached.release()

    def _start_fake(self) -> None:
        command = [sys.executable, "-m", "agentsite.management.chaos.fake"]
        fake = subprocess.Popen(
            [*command, "--parent", str(os.getpid())],
            cwd=self.root, stdout=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip
        self._stack.callback(fake.wait)
        self._stack.callback(fake.kill)
        self.fake_url = fake.stdout.readline().strip() if fake.stdout is not None else ""

    def environment(self) -> dict[str, str]:
        """What the web processes see; one set of keys for all."""
        mine = read_environ()
        host = self._attached.host if self._attached is not None else ""
        return {
            **{name: mine[name] for name in KEPT if name in mine},
            "AGENTSITE_DATA_DIR": str(self.folder / "data"),
            "AGENT_DIR": str(self.folder / "agent"),
            "DATABASE_URL": f"postgresql://postgres@/postgres?host={host}",
            "SECRET_KEY": Fernet.generate_key().decode(),
            "AGENT_SECRET_KEYS": Fernet.generate_key().decode(),
            **self.options.environment(),
        }

    def start_webs(self) -> None:
        """Make the tables, then start all web processes; returns when they serve."""
        env = self.environment()
        manage = [sys.executable, str(self.root / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=env, check=True)
        nursery = Nursery(self.root, env)
        self._stack.callback(nursery.close)
        for number in range(1, self.options.processes + 1):
            self.webs.append(Web(number, nursery, self.folder / f"web-{number}.log"))
            self._stack.callback(self.webs[-1].end)
            self.webs[-1].start()
        for web in self.webs:
            web.wait_ready(START_WITHIN)

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of the judge's own."""
        return psycopg.connect(**self.address(), autocommit=True, **options)

    def address(self) -> dict[str, Any]:
        host = self._attached.host if self._attached is not None else ""
        return {"host": str(host), "user": "postgres", "dbname": "postgres"}

    def postmaster(self) -> psutil.Process:
        """The database's first process."""
        with self.connect() as connection:
            main = psutil.Process(connection.info.backend_pid).parent()
        if main is None:
            raise RuntimeError("the database has no first process")
        return main

    def attach_anew(self) -> None:
        """Start the database where nothing restarted it, and wait until it answers."""
        before, self._attached = self._attached, attach(self._base)
        if before is not None:
            before.release(wait=0)
