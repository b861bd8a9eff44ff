"""Idempotency keys: the same request twice is one run."""

from __future__ import annotations

import datetime as dt

from django.db.models.functions import Now

from sessions_app.models import IdempotencyKey

KEY_HOURS = 24


class KeyReused(Exception):
    """The idempotency key was used before: for `run_id`, with the same body or another."""

    def __init__(self, session_id: str, run_id: str, same_body: bool) -> None:
        super().__init__("idempotency key was used before")
        self.session_id, self.run_id, self.same_body = session_id, run_id, same_body


def find_key(agent: str, scope_id: str, key: str, body_hash: str) -> KeyReused | None:
    """The first use of a key within its 24 hours."""
    fresh = dt.datetime.now(dt.UTC) - dt.timedelta(hours=KEY_HOURS)
    row = IdempotencyKey.objects.filter(
        agent=agent, scope_id=scope_id, key=key, created_at__gt=fresh
    ).first()
    if row is None:
        return None
    return KeyReused(row.session_id, row.run_id, row.body_hash == body_hash)


def remember_key(
    agent: str, scope_id: str, key: str, body_hash: str, session_id: str, run_id: str
) -> None:
    """Bind a request's key to its run. Inside the run's transaction."""
    same = IdempotencyKey.objects.filter(agent=agent, scope_id=scope_id, key=key)
    same.filter(created_at__lt=Now() - dt.timedelta(hours=KEY_HOURS)).delete()
    IdempotencyKey(
        agent=agent,
        scope_id=scope_id,
        key=key,
        body_hash=body_hash,
        session_id=session_id,
        run_id=run_id,
    ).save(force_insert=True)


def forget_old_keys() -> int:
    """Delete keys that nobody may rely on any more; returns how many."""
    old = IdempotencyKey.objects.filter(created_at__lt=Now() - dt.timedelta(hours=KEY_HOURS))
    return int(old.delete()[0])
