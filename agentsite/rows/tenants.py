"""Everything that belongs to one partition, whatever table it is in: exported, erased.

Law: the tables are read off the models. One with a `scope_id`, or with a foreign key that leads
to one, is a tenant table; a table that is added later is found without being named here.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Any, NamedTuple

import msgspec
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, IntegrityError, models, transaction

from agentsite.rows.secrets import Sealed

PAGE = 500
"""Rows that are read or deleted at once."""
PASSES = 5
FORMAT = "agentsite-scope/1"
Prepare = Callable[[str, str], int]
"""A model's `prepare_erasing(agent, scope_id)`, called in each transaction that deletes rows of it:
takes those out of the partition that must stay, and tells how many."""


class StillWritten(RuntimeError):
    """A partition could not be emptied, because it is being filled."""


class TenantTable(NamedTuple):
    """A table, and the lookups from it to its partition."""

    model: type[models.Model]
    scope: str
    agent: str
    tied: bool = False
    """Whether rows may refer to it that are there when its own go: Django lets go of them."""

    def rows(self, agent: str, scope_id: str) -> models.QuerySet[Any]:
        """Its rows of a partition, in order of their keys."""
        which = {self.scope: scope_id, self.agent: agent}
        return self.model._base_manager.filter(**which).order_by("pk")


@cache
def tenant_tables() -> tuple[TenantTable, ...]:
    """All tenant tables, those that refer to others before the others."""
    found = []
    for model in apps.get_models():
        scope = _find_path(model, "scope_id")
        if scope is None:
            continue
        agent = _find_path(model, "agent")
        if agent is None:
            raise LookupError(f"{model._meta.label} has a scope, but no way to the agent")
        found.append(TenantTable(model, scope, agent))
    return tuple(_order(found))


def _find_path(model: type[models.Model], column: str) -> str | None:
    """The lookup from a model to a column of its own, or of what it cannot be without."""
    fields = model._meta.concrete_fields
    if any(field.name == column for field in fields):
        return column
    for field in fields:
        target = field.related_model
        if field.null or not isinstance(target, type) or target is model:
            continue
        further = _find_path(target, column)
        if further is not None:
            return f"{field.name}__{further}"
    return None


def _order(tables: list[TenantTable]) -> Iterator[TenantTable]:
    left = {table.model: table for table in tables}
    while left:
        references = [
            (model, field)
            for model in left
            for field in model._meta.concrete_fields
            if field.related_model in left and field.related_model is not model
        ]
        referred = {field.related_model for _, field in references}
        free = [model for model in left if model not in referred]
        for model in free or [_find_loose_end(references)]:
            tied = not free or _is_tied(model, tables)
            yield left.pop(model)._replace(tied=tied)


def _is_tied(model: Any, tables: list[TenantTable]) -> bool:
    """Whether rows of its own, or of another partition, may refer to a row without needing it."""
    return any(
        field.null and field.related_model is model and (other is model or scope == "scope_id")
        for other, scope in ((table.model, table.scope) for table in tables)
        for field in other._meta.concrete_fields
    )


def _find_loose_end(references: list[tuple[Any, Any]]) -> Any:
    """Of tables in a circle the one that is only referred to by what may also be without it."""
    for model, _ in references:
        towards = [(other, field) for other, field in references if field.related_model is model]
        back = {field.related_model for other, field in references if other is model}
        if all(field.null and other in back for other, field in towards):
            return model
    raise LookupError("tenant tables refer to each other in a circle")


def export_partition(agent: str, scope_id: str) -> Iterator[Callable[[], bytes]]:
    """Pieces of one JSON document with every row of a partition.

    Each piece is work for a unit of its own, so that nothing is held while a reader is slow.
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    head = {"format": FORMAT, "agent": agent, "scope_id": scope_id, "exported_at": now}
    opening = msgspec.json.encode(head)[:-1] + b',"tables":{'
    yield lambda: opening
    for number, table in enumerate(tenant_tables()):
        name = msgspec.json.encode(table.model._meta.label_lower)
        begin = (b"," if number else b"") + name + b":["
        pager = _Pager(table, agent, scope_id, begin)
        while not pager.ended:
            yield pager.read
    yield lambda: b"}}"


class _Pager:
    """Reads one table page by page."""

    def __init__(self, table: TenantTable, agent: str, scope_id: str, begin: bytes) -> None:
        self._rows = table.rows(agent, scope_id)
        self._begin: bytes | None = begin
        self._last: Any = None
        self.ended = False

    def read(self) -> bytes:
        """The next page as JSON, with what opens and closes the list."""
        rows = self._rows if self._last is None else self._rows.filter(pk__gt=self._last)
        page = list(rows[:PAGE])
        said = b",".join(msgspec.json.encode(describe_row(row)) for row in page)
        before = b"" if self._begin is None else self._begin
        between = b"," if self._last is not None and page else b""
        self._begin = None
        self.ended = len(page) < PAGE
        if page:
            self._last = page[-1].pk
        return before + between + said + (b"]" if self.ended else b"")


def describe_row(row: models.Model) -> dict[str, Any]:
    """A row as JSON values; a secret shows that it is there and nothing else."""
    return {
        field.attname: _describe(field.value_from_object(row))
        for field in row._meta.concrete_fields
    }


def _describe(value: Any) -> Any:
    if isinstance(value, Sealed):
        return "[sealed]"
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {"base64": base64.b64encode(raw).decode()}
    if value is None or isinstance(value, str | int | float | dict | list):
        return value
    return value.isoformat() if isinstance(value, dt.datetime | dt.date) else str(value)


def erase_partition(agent: str, scope_id: str, only: Collection[str] = ()) -> dict[str, int]:
    """Delete every row of a partition, page by page; how many, by table.

    `only` names apps (`stores_app`) and tables (`operations.proposal`); nothing means all.

    Runs that are under way lose their rows and with them their lease. What they wrote in the
    meantime goes with another pass. A table with `erased_last` goes when a pass has found nothing
    else: its row keeps the scope blocked until then. Not undone by a failure: begin again.
    Raises `StillWritten` when passes keep finding rows.
    """
    gone: dict[str, int] = {}
    chosen = [table for table in tenant_tables() if not only or _names(table) & set(only)]
    last = [table for table in chosen if getattr(table.model, "erased_last", False)]
    first = [table for table in chosen if table not in last]
    for _ in range(PASSES):
        if _pass(first, agent, scope_id, gone):
            _pass(last, agent, scope_id, gone)
            return {name: count for name, count in gone.items() if count}
    raise StillWritten(
        f'Something goes on writing in the scope "{scope_id}" of {agent}: '
        f"{sum(gone.values()):,} rows were erased, and it stays blocked. Erase it again."
    )


def _names(table: TenantTable) -> set[str]:
    return {table.model._meta.label_lower, table.model._meta.app_label}


def _pass(tables: list[TenantTable], agent: str, scope_id: str, gone: dict[str, int]) -> bool:
    """Empty each table and count in `gone`; whether there was nothing left to do."""
    clean = True
    for table in tables:
        name = table.model._meta.label_lower
        try:
            count = _empty(table, agent, scope_id)
        except IntegrityError:  # a row was written meanwhile that refers to one of these
            clean = False
            continue
        gone[name] = gone.get(name, 0) + count
        clean = clean and not count
    return clean


def _empty(table: TenantTable, agent: str, scope_id: str) -> int:
    total = 0
    rows = table.rows(agent, scope_id)
    prepare: Prepare | None = getattr(table.model, "prepare_erasing", None)
    while True:
        with transaction.atomic():
            total += prepare(agent, scope_id) if prepare is not None else 0
            keys = list(rows.values_list("pk", flat=True)[:PAGE])
            chosen = table.model._base_manager.filter(pk__in=keys)
            if keys and table.tied:
                chosen.delete()
            elif keys:
                # Without Django's own cascade: what refers to these rows went before them.
                chosen._raw_delete(DEFAULT_DB_ALIAS)
        total += len(keys)
        if len(keys) < PAGE:
            return total
