"""One world and one server for the tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.isolation.world import World, furnish, make_world
from tests.servers import Server


@pytest.fixture(scope="session")
def world_and_server(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Server]]:
    """What the owner keeps, and a server that serves it."""
    with make_world(postgres, tmp_path_factory.mktemp("isle")) as world, world.serve() as server:
        furnish(world, server)
        yield world, server


@pytest.fixture
def world(world_and_server: tuple[World, Server]) -> World:
    return world_and_server[0]


@pytest.fixture
def server(world_and_server: tuple[World, Server]) -> Server:
    return world_and_server[1]
