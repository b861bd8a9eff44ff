"""One way into the audit log, for every app: who decided what.

Law: a function of the database adds the entry and chains it (`operations` has the table); callers
pass names and ids, never contents.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

Details = dict[str, Any]


def record(actor: str, action: str, subject: str, details: Details | None = None) -> None:
    """Add an entry, in the transaction that is open if there is one. Synchronous: for `unit`.

    `actor` decided, `action` is a verb with its kind (`tool.approved`), `subject` an id; what was
    before and after stands in `details`.
    """
    told = json.dumps(details or {}, ensure_ascii=False, sort_keys=True).replace("\\u0000", "")
    with connection.cursor() as cursor:
        cursor.execute("SELECT agentsite_audit(%s, %s, %s, %s)", [actor, action, subject, told])
