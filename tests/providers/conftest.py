"""The fake model server on loopback, and the clients closed before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentsite.fakemodel import FakeModel
from agentsite.providers.registry import close_clients
from tests.providers.asking import VARIANTS, Variant


@pytest.fixture
async def closing_clients() -> AsyncIterator[None]:
    """Whatever clients a test opened are closed on its event loop."""
    yield
    await close_clients()


@pytest.fixture
async def fake(closing_clients: None) -> AsyncIterator[FakeModel]:
    async with FakeModel() as server:
        yield server
        await close_clients()


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each vendor's wire in turn; openai has two."""
    chosen: Variant = request.param
    return chosen
