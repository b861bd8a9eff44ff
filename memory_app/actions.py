"""Verbs on a partition's memory, each one transaction on behalf of its scope.

Law: the budget and the merging of near-duplicates are decided under the partition's
lock, so they hold however many write at once. Ids from models and callers are data:
hex digits or nothing, compared by prefix, and exactly one row goes.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector
from django.db import connection, transaction
from django.db.models.functions import Now

from agentsite.bus.catalogue import MemoryUpdated
from agentsite.bus.writing import tell
from agentsite.rows.tenancy import tenant
from memory_app.likeness import is_fuller, says_the_same, words_of
from memory_app.models import MemoryEntry
from memory_app.querysets import MemoryEntryQuerySet

SHORTEST_PREFIX = 6
FOUND_AT_ONCE = 10
QUERY_WORDS = 20
RECALLED_EVERY = dt.timedelta(minutes=1)
ENTRY_ID = re.compile(r"[0-9a-f]{6,32}")
TIMEOUT_MS = 5_000
"""How long a statement on memory may take, waiting for the partition's lock included."""


class Partition(msgspec.Struct, frozen=True):
    """A handle on the memory of one agent and scope; nothing done with it reaches further."""

    agent: str
    scope_id: str

    @property
    def entries(self) -> MemoryEntryQuerySet:
        """Its entries. Only inside `tenant(scope_id)`."""
        rows: MemoryEntryQuerySet = MemoryEntry.objects.for_partition(self.agent, self.scope_id)
        return rows


class Source(msgspec.Struct, frozen=True):
    """The run that writes; empty for a caller who writes by himself."""

    session_id: str = ""
    run_id: str = ""


class Budget(msgspec.Struct, frozen=True):
    """What a partition may hold."""

    entries: int
    chars: int


class BudgetExceeded(Exception):
    """No room. `facts` are the figures that say which limit, as the tool shows them."""

    def __init__(self, message: str, facts: dict[str, int]) -> None:
        super().__init__(message)
        self.facts = facts


class NotAnId(ValueError):
    """Neither an id nor a prefix that is long enough."""


class EntryNotFound(LookupError):
    """No such entry in this partition."""


class AmbiguousId(LookupError):
    """The prefix fits several entries: `ids` are theirs."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__("several entries begin like this")
        self.ids = ids


class Added(msgspec.Struct, frozen=True):
    """An entry that holds the text now, and all entries with it, oldest first."""

    entry: MemoryEntry
    merged: bool
    """Nothing was added: an entry said the same."""
    entries: list[MemoryEntry]


def add_entry(
    partition: Partition, content: str, budget: Budget, source: Source, category: str = ""
) -> Added:
    """Keep a text, or merge it into the entry that says the same. Raises `BudgetExceeded`.

    The fuller of two wordings stays, and with it the run that wrote it.
    """
    with tenant(partition.scope_id):
        _lock(partition)
        entries = list(partition.entries.oldest_first())
        same = next((row for row in entries if says_the_same(row.content, content)), None)
        if same is None:
            _check_budget(entries, None, content, budget)
            entry = MemoryEntry(
                id=uuid.uuid4().hex,
                agent=partition.agent,
                scope_id=partition.scope_id,
                content=content,
                category=category,
                source_session=source.session_id,
                source_run=source.run_id,
            )
            entry.save(force_insert=True)
            tell_change(partition, "add", entry.pk)
            return Added(entry, False, [*entries, entry])
        if is_fuller(content, same.content):
            _check_budget(entries, same, content, budget)
            same.content = content
            same.source_session, same.source_run = source.session_id, source.run_id
            partition.entries.filter(pk=same.pk).update(
                content=content,
                source_session=source.session_id,
                source_run=source.run_id,
                updated_at=Now(),
            )
            tell_change(partition, "merge", same.pk)
        return Added(same, True, entries)


def _check_budget(
    entries: Sequence[MemoryEntry], replaced: MemoryEntry | None, content: str, budget: Budget
) -> None:
    if replaced is None and len(entries) >= budget.entries:
        raise BudgetExceeded(
            f"Memory is full: {len(entries)} of {budget.entries} entries. Remove an entry that "
            "is outdated or can be put together with others, then add this one again.",
            {"entries": len(entries), "maxEntries": budget.entries},
        )
    used = sum(len(row.content) for row in entries)
    gone = len(replaced.content) if replaced is not None else 0
    if used - gone + len(content) > budget.chars:
        raise BudgetExceeded(
            f"Memory is full: {used} of {budget.chars} characters are used and this entry has "
            f"{len(content)}. Remove or shorten entries, then add this one again.",
            {"currentChars": used, "maxTotalChars": budget.chars},
        )


def remove_entry(partition: Partition, given: str) -> tuple[MemoryEntry, list[MemoryEntry]]:
    """Remove the one entry that is meant; it, and what is left.

    `given` is an id or a prefix of at least 6 hex digits.
    Raises `NotAnId`, `EntryNotFound` or `AmbiguousId`; then nothing was removed.
    """
    wanted = given.strip().lower().replace("-", "")
    if not ENTRY_ID.fullmatch(wanted):
        raise NotAnId(given)
    with tenant(partition.scope_id):
        _lock(partition)
        entries = list(partition.entries.oldest_first())
        meant = [row for row in entries if row.pk.startswith(wanted)]
        if not meant:
            raise EntryNotFound(given)
        if len(meant) > 1:
            raise AmbiguousId([row.pk for row in meant])
        partition.entries.filter(pk=meant[0].pk).delete()
        tell_change(partition, "remove", meant[0].pk)
        return meant[0], [row for row in entries if row is not meant[0]]


def tell_change(partition: Partition, operation: str, entry_id: str) -> None:
    """Put a change on the event bus, inside its transaction."""
    tell(partition.agent, partition.scope_id, MemoryUpdated(operation, entry_id))


def forget_entries(entries: Iterable[MemoryEntry]) -> None:
    """Remove entries of any partitions, on behalf of staff."""
    with transaction.atomic():
        for entry in entries:
            tell_change(Partition(entry.agent, entry.scope_id), "remove", entry.pk)
            entry.delete()


def list_entries(partition: Partition) -> list[MemoryEntry]:
    """All entries, oldest first."""
    with tenant(partition.scope_id):
        return list(partition.entries.oldest_first())


def search_entries(partition: Partition, query: str) -> list[MemoryEntry]:
    """Entries with any word of the query, also as it begins, the best first; at most ten."""
    words = list(dict.fromkeys(words_of(query)))[:QUERY_WORDS]
    if not words:
        return []
    # Words are letters and digits only, quoted all the same: nothing of them is an operator.
    quoted = ["'{}'".format(word.replace("'", "''")) for word in words]
    starts = " | ".join(f"{word}:*" for word in quoted)
    begun = SearchQuery(starts, config="simple", search_type="raw")
    stems = SearchQuery(" | ".join(quoted), config="english", search_type="raw")
    text = SearchVector("content", "category", config="simple")
    vector = text + SearchVector("content", "category", config="english")
    with tenant(partition.scope_id):
        rows = partition.entries.annotate(words=vector, rank=SearchRank(vector, begun | stems))
        hits = rows.filter(words=begun | stems)
        found = list(hits.order_by("-rank", "-created_at", "id")[:FOUND_AT_ONCE])
        touch(partition, found)
    return found


def touch(partition: Partition, entries: Sequence[MemoryEntry]) -> None:
    """Note that these were put before a model. Inside `tenant`; rows in use are left out."""
    limit = dt.datetime.now(dt.UTC) - RECALLED_EVERY
    stale = [e.pk for e in entries if e.last_recalled_at is None or e.last_recalled_at < limit]
    if stale:
        free = partition.entries.filter(pk__in=stale).select_for_update(skip_locked=True)
        ids: list[Any] = list(free.values_list("pk", flat=True))
        partition.entries.filter(pk__in=ids).update(last_recalled_at=Now())


def _lock(partition: Partition) -> None:
    """One writer of a partition at a time, to the end of the transaction."""
    name = f"memory:{len(partition.agent)}:{partition.agent}:{partition.scope_id}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(TIMEOUT_MS)])
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
