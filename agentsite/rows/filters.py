"""Filters of big lists, whatever their rows.

Law: a filter says how far it reaches (`keyset.py`): one that no index answers in the list's order
is `residual`, so that a page looks through a bounded number of rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_date, parse_time
from django.utils.timezone import make_aware
from unfold.contrib.filters.admin import (  # type: ignore[import-untyped]  # it has no types
    RangeDateTimeFilter,
    TextFilter,
)

from agentsite.rows.keyset import FEW, RESIDUAL, TIME, WALK, clean

FIRST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LAST = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
EMPTY = "(empty)"
"""How the empty scope is written, here and in the lists."""


class Times(RangeDateTimeFilter):  # type: ignore[misc]  # unfold has no types
    """From a moment to another one, in the server's zone; a day without a time is a whole day."""

    reach = TIME

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of that span."""
        bounds = {
            "gte": self._moment("from", dt.time.min),
            "lte": self._moment("to", dt.time.max),
        }
        told = {f"{self.parameter_name}__{name}": at for name, at in bounds.items() if at}
        return queryset.filter(**told)

    def _moment(self, which: str, default: dt.time) -> dt.datetime | None:
        return _read_moment(self.used_parameters, f"{self.parameter_name}_{which}", default)


def _read_moment(given: Mapping[str, Any], name: str, default: dt.time) -> dt.datetime | None:
    parts = [given.get(f"{name}_{number}") for number in (0, 1)]
    try:
        day = parse_date(str(parts[0] or ""))
        time = parse_time(str(parts[1] or "")) or default
        return make_aware(dt.datetime.combine(day, time)) if day else None
    except (ValueError, OverflowError):
        return None


def read_span(given: Mapping[str, Any], name: str) -> tuple[dt.datetime, dt.datetime] | None:
    """The stretch of time that a query string asks `Times` for, open ends filled in."""
    start = _read_moment(given, f"{name}_from", dt.time.min)
    end = _read_moment(given, f"{name}_to", dt.time.max)
    if start is None and end is None:
        return None
    return start or FIRST, end or LAST


class ChoiceFilter(admin.SimpleListFilter):
    """One value of a column out of those that there may be, which nobody has to read off the rows.

    A subclass says `column` and `choices_of_column`, as `(value, words)`.
    """

    column: ClassVar[str]
    choices_of_column: ClassVar[Sequence[tuple[str, str]]]

    @property
    def reach(self) -> str:
        """Through rows, where the subclass knows of no index."""
        return RESIDUAL

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """All values."""
        return list(self.choices_of_column)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the chosen one."""
        chosen = {self.column: self.value()} if self.value() else {}
        return queryset.filter(**chosen)


class OtherTimes(Times):
    """Of a time that is not the list's own."""

    reach = RESIDUAL


class ScopeFilter(TextFilter):  # type: ignore[misc]  # unfold has no types
    """One scope, written out."""

    title, parameter_name = "scope", "scope"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the scope."""
        scope = clean(self.value())
        return queryset.filter(scope_id="" if scope == EMPTY else scope) if scope else queryset


def few_keys(rows: QuerySet[Any]) -> list[Any] | None:
    """The keys of these rows, if they are no more than a page looks through."""
    found = list(rows.order_by().values_list("pk", flat=True)[: WALK + 1])
    return found if len(found) <= WALK else None


class CountedScopeFilter(ScopeFilter):
    """One scope of a table whose index of scopes has another order than the list.

    A scope with few rows is known by them; one with many is met soon on a walk through all.
    """

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._found: list[Any] | None = None
        if self.value():
            self._found = few_keys(super().queryset(request, model._default_manager.all()))

    @property
    def reach(self) -> str:
        """As far as the scope is large."""
        return RESIDUAL if self._found is None else FEW

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the scope."""
        if self._found is not None:
            return queryset.filter(pk__in=self._found)
        return super().queryset(request, queryset)


class NameFilter(TextFilter):  # type: ignore[misc]  # unfold has no types
    """One whole name, written out: of an agent, unless a list says otherwise."""

    title = parameter_name = "agent"
    residual: ClassVar[bool] = True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows with the name."""
        name = clean(self.value())
        return queryset.filter(**{self.parameter_name: name}) if name else queryset
