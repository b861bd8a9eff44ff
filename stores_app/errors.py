"""What can be wrong with a request to a store, said so that its caller can put it right."""

from __future__ import annotations

from typing import Any


class StoreError(Exception):
    """A request that a store refuses; `str()` tells its caller why."""

    code = "store_error"
    details: Any = None


class StoreNotFound(StoreError):
    """The agent has no store of that name."""

    code = "store_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f'Store "{name}" not found')


class DocumentNotFound(StoreError):
    """The store has no document under that key."""

    code = "document_not_found"

    def __init__(self, store: str, key: str) -> None:
        super().__init__(f'Store "{store}" has no document "{key[:200]}"')


class InvalidDocument(StoreError):
    """A payload that does not fit the schema; `details` lists `{"field", "problem"}`."""

    code = "invalid_document"

    def __init__(self, store: str, problems: list[dict[str, str]]) -> None:
        shown = "; ".join(f'"{each["field"]}" {each["problem"]}' for each in problems[:5])
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        super().__init__(f'Not a document of store "{store}": {shown}{more}')
        self.details = problems


class BadQuery(StoreError):
    """A filter, sort, cursor or limit that means nothing."""

    code = "invalid_query"


class SlowQuery(StoreError):
    """The query took too long and was stopped."""

    code = "query_too_slow"


class ReadOnlyStore(StoreError):
    """A scope may read a shared store, not write to it."""

    code = "store_read_only"

    def __init__(self, name: str) -> None:
        super().__init__(f'Store "{name}" is shared (read-only) — writes are not allowed')


class Conflict(StoreError):
    """The document is not the one that the writer has seen, or others still need it."""

    code = "conflict"


class VersionConflict(Conflict):
    """`ifVersion` names another version than the newest; 0 stands for none."""

    code = "version_conflict"

    def __init__(self, key: str, wanted: int, found: int) -> None:
        now = f"is at version {found}" if found else "does not exist"
        super().__init__(f'Document "{key}" {now}, not at version {wanted}. Read it again.')
        self.details = {"key": key, "ifVersion": wanted, "version": found}


class BatchFailed(StoreError):
    """Nothing of an all-or-nothing batch was stored."""

    code = "batch_failed"


class Unavailable(StoreError):
    """The database did not take it now; the same may work in a moment."""

    code = "store_unavailable"
