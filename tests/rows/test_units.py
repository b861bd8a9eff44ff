"""Units of row work: on threads, with the caller's context, never keeping a connection."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, connections

from agentsite.rows.tenancy import act_for_all
from agentsite.rows.units import unit

pytestmark = pytest.mark.django_db(transaction=True)
TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")


def has_no_connection() -> bool:
    """Whether the thread that runs this unit came to it with empty hands."""
    return connection.connection is None


async def nobody_kept_a_connection() -> bool:
    """Ask all threads of the pool, several times over."""
    return all(await asyncio.gather(*(unit(has_no_connection) for _ in range(100))))


async def test_result_error_and_context_come_through() -> None:
    act_for_all("users are no scope's")
    TENANT.set("acme")
    user = await unit(User.objects.create, username="ada")
    assert user.pk
    assert await unit(TENANT.get) == "acme"
    with pytest.raises(User.DoesNotExist):
        await unit(User.objects.get, username="nobody")
    assert await nobody_kept_a_connection()


async def test_many_units_share_few_connections() -> None:
    act_for_all("users are no scope's")
    await asyncio.gather(*(unit(User.objects.count) for _ in range(300)))
    assert connections["default"].pool.get_stats()["pool_size"] <= settings.DB_POOL_SIZE
    assert await nobody_kept_a_connection()


async def test_unit_outlives_a_cancelled_await() -> None:
    act_for_all("users are no scope's")
    entered, leave = threading.Event(), threading.Event()

    def create_slowly() -> None:
        connection.ensure_connection()
        entered.set()
        assert leave.wait(10)
        User.objects.create(username="late")

    waiting = asyncio.create_task(unit(create_slowly))
    assert await asyncio.to_thread(entered.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    leave.set()
    async with asyncio.timeout(10):
        while not await unit(User.objects.filter(username="late").exists):
            continue
    assert await nobody_kept_a_connection()
