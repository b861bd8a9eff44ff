"""The audit log: who decided what, in a chain that tells of every later change.

Law: entries are added by one function of the database, never changed; each holds the hash of
the one before it. Secrets do not belong in it: callers pass names and ids, not contents.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from agentsite.operations.models import AuditEntry
from agentsite.rows.auditing import record as record

ORIGIN = "0" * 64
"""What the first entry follows."""
CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of the chain found."""

    count: int
    head: str
    problem: str | None


def hash_entry(entry: AuditEntry) -> str:
    """The hash that an entry must have, from its own words."""
    at = entry.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{entry.at.microsecond // 1000:03}Z"
    words = [entry.number, entry.previous, at, entry.actor, entry.action, entry.subject]
    text = json.dumps([*words, entry.details], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_chain() -> Checked:
    """Follow the chain from its first entry; the first fault ends it."""
    count, head = 0, ORIGIN
    for entry in AuditEntry.objects.order_by("number").iterator(CHUNK):
        count += 1
        problem = None
        if entry.number != count:
            problem = f"entry {count} is missing; the next one there is {entry.number}"
        elif entry.previous != head:
            problem = f"entry {entry.number} does not follow the entry before it"
        elif hash_entry(entry) != entry.hash:
            problem = f"entry {entry.number} is not what it was"
        if problem:
            return Checked(count, head, problem)
        head = entry.hash
    return Checked(count, head, None)
