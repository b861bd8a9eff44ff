"""One real server that tests share, and a client that talks to it.

Law: it serves the worker's test database and two agents: `desk`, the one that ships, and
`trials`, whose scripts and tools do what tests need. Tests keep out of each other's way
by a scope of their own, not by cleaning up.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.servers import ROOT, Server, test_database_url
from tests.trials import write_trials

PATIENCE = 20.0
"""Seconds without a byte after which a test gives up."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever talks to the server needs the test's database (a hook for `conftest.py`)."""
    for item in items:
        # Not by the name `server`: the page's tests have a fake one, and no database.
        if {"server", "django_db_setup"} <= set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.django_db)


def write_agents(folder: Path) -> Path:
    """The two agents, in a folder of agents."""
    shutil.copytree(ROOT / "agentsite" / "default_agent", folder / "desk")
    write_trials(folder / "trials")
    return folder


@pytest.fixture(scope="session")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all tests of a worker share."""
    folder = tmp_path_factory.mktemp("served")
    agents = write_agents(folder / "agents")
    running = Server(test_database_url(), folder / "data", AGENTS_DIR=str(agents))
    try:
        yield running.wait_ready()
    finally:
        running.close()


@dataclass
class Frame:
    """One SSE frame; `id` is None for a frame that is not in the log."""

    id: int | None
    event: str
    data: dict[str, Any]
    raw: bytes


@dataclass
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])


@dataclass
class Client:
    """Talks HTTP to a server, in one scope and with one agent."""

    server: Server
    scope: str
    agent: str = "trials"

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Iterator[HTTPResponse]:
        """A response whose body has not been read. `body` becomes JSON unless it is bytes."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        known = {"scope_id": self.scope, **query}
        pairs = {name: value for name, value in known.items() if value is not None}
        raw = body is None or isinstance(body, bytes)
        sent = body if raw else json.dumps(body).encode()
        kind = {} if sent is None else {"Content-Type": "application/json"}
        try:
            target = f"{path}?{urlencode(pairs)}" if pairs else path
            connection.request(method, target, sent, {**kind, **(headers or {})})
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """A whole answer."""
        with self.open(method, path, body, **more) as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a successful GET."""
        answer = self.ask("GET", path, **query)
        assert answer.status == 200, answer.body
        return answer.json

    def message(self, text: str, **more: Any) -> dict[str, Any]:
        """The body of a chat request."""
        return {"message": text, "agentId": self.agent, "scope_id": self.scope, **more}

    @contextmanager
    def stream(self, text: str, **more: Any) -> Iterator[Iterator[Frame]]:
        """The frames of a run, as they come."""
        with self.open("POST", "/chat/stream", self.message(text, **more)) as response:
            assert response.status == 200, response.read()
            yield read_frames(response)

    def say(self, text: str, **more: Any) -> list[Frame]:
        """Every frame of a run."""
        with self.stream(text, **more) as frames:
            return list(frames)

    def events(self, session_id: str, until: str = "done", after: int = 0) -> list[Frame]:
        """The session's log behind a number, up to the first event of that name."""
        found: list[Frame] = []
        with self.open("GET", f"/sessions/{session_id}/events", after=after) as response:
            assert response.status == 200, response.read()
            for frame in read_frames(response):
                found.append(frame)
                if frame.event == until:
                    break
        return found


@pytest.fixture
def client(server: Server) -> Client:
    """A caller with a scope of its own, talking to the agent `trials`."""
    return Client(server, f"t-{uuid.uuid4().hex}")


def read_frames(response: HTTPResponse) -> Iterator[Frame]:
    """Frames of an SSE response, comments left out, until it ends."""
    lines: list[bytes] = []
    while line := response.readline():
        if line != b"\n":
            lines.append(line)
        elif lines:
            raw, lines = b"".join(lines), []
            if not raw.startswith(b":"):
                yield parse_frame(raw)


def parse_frame(raw: bytes) -> Frame:
    """One frame from its lines."""
    fields = dict(line.split(": ", 1) for line in raw.decode().split("\n") if line)
    number = int(fields["id"]) if "id" in fields else None
    return Frame(number, fields["event"], json.loads(fields["data"]), raw + b"\n")


def session_of(frames: list[Frame]) -> str:
    """The id of the session that a run belongs to."""
    return str(frames[0].data["sessionId"])
