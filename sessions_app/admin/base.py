"""What the admin pages of the engine's rows share.

Law: those rows are looked at, never edited here. No page counts a big table, and
no cell loads what it does not show.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import admin
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.paginator import (  # type: ignore[import-untyped]  # it has no types
    InfinitePaginator,
)

from sessions_app.models import Metered

MAX_ROWS = 200
"""Lines of a table inside a page."""


class LookOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows that the engine owns."""

    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_select_related = False
    actions = None

    class Media:
        css = {"all": ("sessions_app/admin.css",)}

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


Cell = TypeVar("Cell", bound=Callable[..., str])


def labelled(description: str, colours: dict[str, str]) -> Callable[[Cell], Cell]:
    """A cell that unfold shows as a coloured label, by its value."""

    def decorate(cell: Cell) -> Cell:
        cell.short_description = description  # type: ignore[attr-defined]  # the admin reads it
        cell.label = colours  # type: ignore[attr-defined]  # unfold reads it
        return cell

    return decorate


class AgentFilter(admin.SimpleListFilter):
    """By agent, without reading the whole table for the names."""

    title = "agent"
    parameter_name = "agent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The names, one index probe each."""
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH RECURSIVE known AS ("
                " (SELECT agent FROM sessions_app_session ORDER BY agent LIMIT 1) UNION ALL"
                " SELECT (SELECT agent FROM sessions_app_session s WHERE s.agent > known.agent"
                "  ORDER BY agent LIMIT 1) FROM known WHERE known.agent IS NOT NULL)"
                " SELECT agent FROM known WHERE agent IS NOT NULL LIMIT 200"
            )
            return [(str(row[0]), str(row[0])) for row in cursor.fetchall()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the chosen agent."""
        return queryset.filter(agent=self.value()) if self.value() else queryset


def show_money(micros: int | None) -> str:
    """Micro-dollars as dollars; an unknown price is never shown as zero."""
    return "unknown" if micros is None else f"${micros / 1_000_000:,.6f}"


def show_cost(row: Any) -> str:
    """The cost of a session or a run."""
    if row.cost_known:
        return show_money(row.cost_micros)
    return f"unknown, {show_money(row.cost_micros)} of it known" if row.cost_micros else "unknown"


def show_tokens(row: Metered) -> str:
    """All tokens of a row."""
    return f"{row.metered.total:,}"


def show_ms(ms: int | None) -> str:
    """A duration."""
    if ms is None:
        return "-"
    return f"{ms:,} ms" if ms < 10_000 else f"{ms / 1000:,.1f} s"


def show_span(start: dt.datetime, end: dt.datetime | None) -> str:
    """The time between two moments."""
    return "-" if end is None else show_ms((end - start) // dt.timedelta(milliseconds=1))


def show_time(moment: dt.datetime | None) -> str:
    """A moment to the second."""
    return "-" if moment is None else date_format(localtime(moment), "Y-m-d H:i:s")


def link(model: type[Model], pk: object, text: str | None = None) -> SafeString:
    """A link to a row's page."""
    label = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return format_html('<a class="ag-link" href="{}">{}</a>', reverse(label, args=[pk]), text or pk)


def to_text(value: Any) -> str:
    """A JSON value to read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_json(value: Any) -> SafeString:
    """The same in a box."""
    return format_html('<pre class="ag-pre">{}</pre>', to_text(value))
