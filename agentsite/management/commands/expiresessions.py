"""`manage.py expiresessions`: let sessions age by `AMODAL_SESSION_TTL`, and documents by their own
time to live, once.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from agentsite.bus.reading import purge
from agentsite.operations.budgets import forget_lost
from sessions_app.expiry import age_sessions
from sessions_app.keys import forget_old_keys
from stores_app.expiry import forget_receipts, purge_documents


class Command(BaseCommand):
    """Safe at any time and in several processes at once."""

    help = "Let sessions become idle or expire; delete the content of expired ones and documents."

    def handle(self, *args: Any, **options: Any) -> None:
        """Age, and say how many sessions changed."""
        ttl = settings.AMODAL_SESSION_TTL
        if not ttl:
            self.stdout.write("AMODAL_SESSION_TTL is 0: sessions do not age.")
        aged = age_sessions(ttl, settings.AMODAL_SESSION_RETENTION)
        self.stdout.write(
            f"{aged.idle} became idle, {aged.expired} expired, the content of {aged.purged} deleted"
        )
        forget_receipts()
        forget_lost()
        keys = forget_old_keys()
        events = purge(dt.timedelta(hours=settings.BUS_RETENTION_HOURS))
        self.stdout.write(
            f"{purge_documents()} expired documents, {keys} idempotency keys,"
            f" {events} events of the bus deleted"
        )
