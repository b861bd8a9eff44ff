"""`manage.py up` as a real process: on a port of its own, with data of its own."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import all_gone

ROOT = Path(__file__).resolve().parent.parent.parent
START_WITHIN = 90.0
"""Seconds; a first start makes a database, on a machine that may be busy with other tests."""


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """One running `manage.py up`."""

    def __init__(self, data: Path, *options: str, **environment: str) -> None:
        self.port = free_port()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", "up", "--port", str(self.port), *options],
            env={**kept, "AGENTSITE_DATA_DIR": str(data), **environment}, cwd=data.parent,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.output = ""
        self.family: set[psutil.Process] = set()

    @property
    def site(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, words: str) -> str:
        """Read what it prints until `words` come; everything printed so far."""
        assert self.process.stdout is not None
        until = time.monotonic() + START_WITHIN
        while words not in self.output:
            heard, _, _ = select.select([self.process.stdout], [], [], until - time.monotonic())
            said = os.read(self.process.stdout.fileno(), 65536).decode() if heard else ""
            assert said, f"{words!r} did not come; it said:\n{self.output}"
            self.output += said
        return self.output

    def remember_family(self) -> set[psutil.Process]:
        """All processes that belong to it now: children, the watchdog and the database."""
        mine = psutil.Process(self.process.pid)
        self.family |= {mine, *mine.children(recursive=True)}
        data = str(self.data)
        for process in psutil.process_iter(["cmdline"]):
            if any(data in part for part in process.info["cmdline"] or []):
                self.family |= {process, *process.children(recursive=True)}
        return self.family

    @property
    def data(self) -> Path:
        """Its data folder."""
        return Path(psutil.Process(self.process.pid).environ()["AGENTSITE_DATA_DIR"])

    def interrupt(self) -> float:
        """Ctrl-C; seconds until it ended, with exit code 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0
        return time.monotonic() - began

    def close(self) -> None:
        """End it and everything that belongs to it."""
        if self.process.poll() is None:
            self.remember_family()
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert all_gone(self.family, 20)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start `up`; it is ended, with all that belongs to it, after the test."""
    started: list[Up] = []

    def start(*options: str, data: Path = tmp_path / "data", **environment: str) -> Up:
        started.append(Up(data, *options, **environment))
        return started[-1]

    yield start
    for each in started:
        each.close()
