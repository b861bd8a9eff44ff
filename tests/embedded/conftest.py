"""Holders: real processes that use an embedded server, as every kind of user there can be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from agentsite.embedded.identity import NOBODYS_ROOT
from agentsite.embedded.layout import fingerprint
from tests.processes import all_gone

HOLDER = Path(__file__).with_name("holder.py")
ORDINARY = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
AS_ROOT = {"namespace": ([], {}), "nobody": ([], {"namespaces": False}), "ordinary": (ORDINARY, {})}
FACES: dict[str, tuple[list[str], dict[str, Any]]] = (
    AS_ROOT if os.geteuid() == 0 else {"ordinary": ([], {})}
)
"""Who starts the server, by name: a prefix of the command line, and options of `attach`."""


class Holder:
    """One process that holds the server of `base`."""

    def __init__(self, base: Path, face: str, **options: Any) -> None:
        prefix, given = FACES[face]
        self.base = base
        self.process = subprocess.Popen(
            [*prefix, sys.executable, HOLDER, base, json.dumps({**given, **options})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: dict[str, str] | None = None

    def answer(self) -> dict[str, str]:
        """`{"host": …}` or `{"error": …}`, waited for."""
        assert self.process.stdout is not None
        if self.said is None:
            self.said = json.loads(self.process.stdout.readline() or '{"error": "it died"}')
        return self.said

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to the held server."""
        answer = self.answer()
        assert "host" in answer, answer
        return psycopg.connect(
            host=answer["host"], user="postgres", dbname="postgres", autocommit=True
        )

    def ask(self, statement: str) -> Any:
        """The first value of a statement's first row, None where it has none."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def postmaster(self) -> psutil.Process:
        """The server's process."""
        cluster = json.loads((self.base / "cluster.json").read_text())
        return psutil.Process(
            int((Path(cluster["data"]) / "postmaster.pid").read_text().split()[0])
        )

    def release(self) -> None:
        """Let go in good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0

    def close(self) -> None:
        """End it, whatever state it is in."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """Start holders; they are ended, and their servers gone, after the test."""
    holders: list[Holder] = []

    def start(base: Path, face: str, **options: Any) -> Holder:
        holder = Holder(base, face, **{"linger": 0.3, **options})
        holders.append(holder)
        return holder

    yield start
    servers = [server for holder in holders for server in living_server(holder)]
    for holder in holders:
        holder.close()
    assert all_gone(servers, 20)
    for holder in holders:
        shutil.rmtree(NOBODYS_ROOT / fingerprint(holder.base), ignore_errors=True)


def living_server(holder: Holder) -> list[psutil.Process]:
    """The server of a holder, if it lives."""
    try:
        return [holder.postmaster()]
    except (OSError, psutil.Error, ValueError, IndexError):
        return []


@pytest.fixture(params=list(FACES))
def face(request: pytest.FixtureRequest) -> str:
    """Each kind of user that this test run can be."""
    return str(request.param)


@pytest.fixture
def any_face() -> str:
    """One kind of user, for what does not depend on it."""
    return next(iter(FACES))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Where a test's cluster goes."""
    return tmp_path / "postgres"
