"""After the database was away nobody takes runs from those who could not renew their leases."""

from __future__ import annotations

import pytest

from agentsite.host.trust import Trust
from agentsite.rows.tenancy import acting_for_all
from tests.requirements import requirement
from tests.wire_client import eventually

pytestmark = pytest.mark.django_db(transaction=True)
LONG, SHORT = 1e6, 0.2
"""Leases in seconds: the tests' database is younger than the one, and older than the other."""


@requirement("runs.trust")
async def test_leases_are_trusted_at_once_unless_the_database_was_away() -> None:
    with acting_for_all("a test"):
        trust = Trust(SHORT)
        assert await trust.holds()
        trust.lose()
        assert not await trust.holds()
        await eventually(trust.holds)
        assert not await Trust(LONG).holds()
