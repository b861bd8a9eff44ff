"""Fixtures: a pool that is closed and leaves nothing, servers of our own, the public ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.mcp_client.bench import HERE, Bench, nothing_left, program
from tests.mcp_client.reference import install_node_servers, install_python_servers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mcp-http", type=int, default=24, help="MCP sessions over HTTP to open")
    parser.addoption("--mcp-stdio", type=int, default=4, help="MCP servers to start as processes")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A pool; after the test no task, process or socket is left of it."""
    async with nothing_left():
        bench = Bench(idle_s=600.0)
        yield bench
        await bench.pool.close()


@pytest.fixture(scope="session")
def plain_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Port and folder of a server of 2025-11-25, with sessions."""
    folder = tmp_path_factory.mktemp("plain")
    with program(folder, str(HERE / "plain.py"), "http") as port:
        yield port, folder


@pytest.fixture(scope="session")
def toy_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Port and folder of a server of 2026-07-28."""
    folder = tmp_path_factory.mktemp("toy")
    with program(folder, str(HERE / "toy.py"), "http", "0") as port:
        yield port, folder


@pytest.fixture(scope="session")
def node_servers() -> Path:
    """The folder of `@modelcontextprotocol/server-everything`."""
    return install_node_servers()


@pytest.fixture(scope="session")
def python_servers() -> Path:
    """The folder with `mcp-server-time`, `mcp-server-fetch` and `mcp-server-git`."""
    return install_python_servers()
