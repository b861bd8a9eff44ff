"""Who leads among the beat processes, as anybody can see it. Synchronous: for `unit`."""

from __future__ import annotations

from django.db import connection
from django_celery_beat.models import PeriodicTask

LEADER_LOCK = 0x62656174
"""A number of our own for Postgres's advisory locks ("beat")."""


def is_leaderless() -> bool:
    """Whether something is to be fired, and nobody leads who would."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid = 0 AND objid = %s AND objsubid = 1 AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database()))",
            [LEADER_LOCK],
        )
        if cursor.fetchone()[0]:
            return False
    return bool(PeriodicTask.objects.filter(enabled=True).exists())
