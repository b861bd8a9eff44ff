"""What goes when its time is over: expired documents, and receipts of calls long ended.

Law: a document that others refer to stays. Work is done in small transactions, so it may be
stopped at any time and run in several processes at once.
"""

from __future__ import annotations

import datetime as dt

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from stores_app.actions import KEEP_HIGHER, RAISE_FLOOR
from stores_app.models import Receipt

STEP = 500
STALE_HOURS = 24
"""So long an expired document can still be read by its key, marked as stale."""
RECEIPT_DAYS = 7
"""Longer than any run may take to be resumed."""


def purge_documents(stale_hours: float = STALE_HOURS) -> int:
    """Delete documents that expired long ago, with their history; returns how many."""
    total = 0
    while purged := _purge_some(stale_hours):
        total += purged
    return total


def _purge_some(stale_hours: float) -> int:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "WITH gone AS (DELETE FROM stores_app_document WHERE id IN ("  # noqa: S608 - constants
                " SELECT d.id FROM stores_app_document d"
                "  WHERE d.expires_at < now() - %s * interval '1 hour'"
                "  AND NOT EXISTS (SELECT 1 FROM stores_app_reference r"
                "   WHERE r.target_id = d.id AND r.source_id <> d.id)"
                "  LIMIT %s FOR UPDATE SKIP LOCKED)"
                " RETURNING scope_id, agent, store, key, version),"
                f" floors AS ({RAISE_FLOOR} SELECT scope_id, agent, store, max(version) FROM gone"
                f"  GROUP BY scope_id, agent, store ORDER BY scope_id, agent, store {KEEP_HIGHER}),"
                " forgotten AS (DELETE FROM stores_app_documentversion v USING gone g"
                "  WHERE v.scope_id = g.scope_id AND v.agent = g.agent AND v.store = g.store"
                "  AND v.key = g.key)"
                " SELECT count(*) FROM gone",
                [stale_hours, STEP],
            )
            return int(cursor.fetchone()[0])
    except IntegrityError:  # referred to at this very moment: the next run of the job sees it
        return 0


def forget_receipts() -> int:
    """Delete receipts of calls that cannot be made again any more; returns how many."""
    old = Receipt.objects.filter(created_at__lt=Now() - dt.timedelta(days=RECEIPT_DAYS))
    return int(old._raw_delete(old.db))
