"""A laboratory of its own for tests of automations; see `tests/host/conftest.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from cryptography.fernet import Fernet
from django.conf import LazySettings

from tests.gatehouse import SIGN
from tests.gates import Gates, open_gates
from tests.lab import Lab
from tests.wire_client import Client

KEY = Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def keys(settings: LazySettings) -> None:
    """Keys of the tests' own, whatever the environment has."""
    settings.AGENT_SECRET_KEYS = [KEY]


@pytest.fixture(scope="session")
def workshop(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A laboratory whose first server runs automations."""
    with Lab(
        postgres, tmp_path_factory.mktemp("workshop"), RUN_LEASE_SECONDS="4", SECRET_KEY=SIGN
    ) as lab:
        lab.start().wait_ready()
        yield lab
        assert list(lab.complaints()) == []


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@pytest.fixture
def client(workshop: Lab, http: aiohttp.ClientSession) -> Client:
    """Talks to the workshop's first server."""
    return Client(http, workshop.servers[0].url)


@pytest.fixture
async def gates() -> AsyncIterator[Gates]:
    async with open_gates() as gates:
        yield gates
