"""Regular work on the whole site, as Celery's tasks; when it is due says `agentsite.celery`.

Law: each is safe at any time and in several processes at once. It runs on the loop of the
worker's host, in units, like all that touches rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from agentsite.bus import reading
from agentsite.host.hosting import host_thread
from agentsite.host.site import site
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from sessions_app import expiry, keys
from stores_app.expiry import forget_receipts, purge_documents as purge_stored

LONGEST = 600.0
"""Seconds that one task may take."""


def run_for_all(reason: str, work: Callable[..., Any], *args: Any) -> None:
    """Run one unit on behalf of all scopes, and wait for it."""

    async def act() -> None:
        with acting_for_all(reason):
            await unit(work, *args)

    host_thread().call(act(), LONGEST)


@shared_task  # type: ignore[untyped-decorator]
def take_over() -> None:
    """Resume runs whose process is gone, start queues, close old questions."""

    async def act() -> None:
        if site().runs.accepting:
            with acting_for_all("leases of every scope"):
                await site().heartbeat.take_over()

    host_thread().call(act(), LONGEST)


@shared_task  # type: ignore[untyped-decorator]
def age_sessions() -> None:
    """Let sessions become idle or expire, and delete the content of expired ones."""
    ages = settings.AMODAL_SESSION_TTL, settings.AMODAL_SESSION_RETENTION
    run_for_all("sessions of every scope age", expiry.age_sessions, *ages)


@shared_task  # type: ignore[untyped-decorator]
def purge_documents() -> None:
    """Delete documents whose time is over."""
    run_for_all("documents of every scope expire", purge_stored)


@shared_task  # type: ignore[untyped-decorator]
def purge_bus() -> None:
    """Delete events that nobody can resume from any more."""
    age = dt.timedelta(hours=settings.BUS_RETENTION_HOURS)
    run_for_all("the bus is one for all", reading.purge, age)


@shared_task  # type: ignore[untyped-decorator]
def purge_keys() -> None:
    """Delete idempotency keys and receipts of calls that cannot be made again."""
    run_for_all("keys of every scope", keys.forget_old_keys)
    run_for_all("receipts of every scope", forget_receipts)


@shared_task  # type: ignore[untyped-decorator]
def purge_sign_ins() -> None:
    """Delete browser sessions of staff that have expired."""
    run_for_all("staff are no scope's", call_command, "clearsessions")
