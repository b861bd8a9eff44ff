"""One laboratory per worker: two servers on one database, and a fake model behind them.

Law: the servers are shared, so a test looks at its own sessions only. What kills, stops or
starves a server starts one of its own (`lone_lab`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.gates import Gates, open_gates
from tests.lab import Lab
from tests.servers import Server
from tests.wire_client import Client


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cuts", type=int, default=300, help="how many places to cut a stream at")
    parser.addoption("--storms", type=int, default=2, help="how many dozens of sessions to storm")
    parser.addoption("--write-golden", action="store_true", help="write golden transcripts anew")


@pytest.fixture(scope="session")
def lab(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A laboratory whose first server is `lab.servers[0]`."""
    with Lab(postgres, tmp_path_factory.mktemp("lab")) as lab:
        lab.start().wait_ready()
        yield lab
        assert list(lab.complaints()) == []


@pytest.fixture(scope="session")
def neighbour(lab: Lab) -> Server:
    """A second process on the same database."""
    return lab.start().wait_ready()


@pytest.fixture(scope="session")
def crash_lab(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A laboratory for processes that die: `witness` is there to take their runs over."""
    folder = tmp_path_factory.mktemp("crash")
    with Lab(postgres, folder, RUN_LEASE_SECONDS="4") as lab:
        yield lab
        assert list(lab.complaints()) == []


@pytest.fixture(scope="session")
def witness(crash_lab: Lab) -> Server:
    """The process of the crash laboratory that lives on."""
    return crash_lab.start().wait_ready()


@pytest.fixture
def survivor(witness: Server, http: aiohttp.ClientSession) -> Client:
    """Talks to the witness."""
    return Client(http, witness.url)


@pytest.fixture
def victim(crash_lab: Lab, witness: Server) -> Iterator[Server]:
    """A process beside the witness, to be killed, stopped or suspended."""
    server = crash_lab.start(SHUTDOWN_GRACE_SECONDS="2").wait_ready()
    yield server
    if server.process.poll() is None:
        server.kill()


@pytest.fixture
def doomed(victim: Server, http: aiohttp.ClientSession) -> Client:
    """Talks to the victim."""
    return Client(http, victim.url)


@pytest.fixture
def lone_lab(postgres: str, tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Make a laboratory for this test alone; the environment is for all its servers."""
    with ExitStack() as stack:
        yield lambda **environment: stack.enter_context(Lab(postgres, tmp_path, **environment))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@pytest.fixture
def client(lab: Lab, http: aiohttp.ClientSession) -> Client:
    """Talks to the laboratory's first server."""
    return Client(http, lab.servers[0].url)


@pytest.fixture
def elsewhere(neighbour: Server, http: aiohttp.ClientSession) -> Client:
    """Talks to its second server."""
    return Client(http, neighbour.url)


@pytest.fixture
async def gates() -> AsyncIterator[Gates]:
    async with open_gates() as gates:
        yield gates
