"""What the admin pages of the engine's rows share.

Law: those rows are looked at, never edited here. No page counts a big table, and
no cell loads what it does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.paginator import (  # type: ignore[import-untyped]  # it has no types
    InfinitePaginator,
)

from sessions_app.admin.filters import clean
from sessions_app.admin.formats import (
    link,
    show_cost,
    show_json,
    show_money,
    show_ms,
    show_span,
    show_time,
    show_tokens,
    to_text,
)
from sessions_app.admin.keyset import FEW, RESIDUAL, KeysetChangeList

__all__ = [
    "MAX_ROWS",
    "AgentFilter",
    "BigTable",
    "LookOnly",
    "labelled",
    "link",
    "show_cost",
    "show_json",
    "show_money",
    "show_ms",
    "show_span",
    "show_time",
    "show_tokens",
    "to_text",
]

MAX_ROWS = 200
"""Lines of a table inside a page."""


class LookOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows that the engine owns."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = InfinitePaginator
    list_per_page = 50
    list_select_related: bool | tuple[str, ...] = False
    actions: Sequence[str] | None = None

    class Media:
        css = {"all": ("sessions_app/admin.css",)}
        js = ("sessions_app/admin_live.js",)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class BigTable(LookOnly):
    """Rows in such numbers that pages are turned by place (`keyset.py`)."""

    keyset: ClassVar[str]
    """The time that orders them, newest first; the id decides between equal ones."""
    ids: ClassVar[dict[str, str]] = {"sess_": "session_id", "run_": "run_id"}
    """Which ids can be searched for: how they begin, and their field."""
    word_reach: ClassVar[str] = RESIDUAL
    """How far a search for what is no id reaches (`keyset.py`)."""
    list_per_page = 30
    list_filter_submit = True
    list_filter_sheet = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Turned by place."""
        return KeysetChangeList

    def complete_page(self, rows: list[Any]) -> list[Any]:
        """The rows of one page, with whatever is read for all of them at once."""
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Whole ids by their index; what else there is to find `search` says."""
        term = clean(search_term)
        if not term:
            return queryset, False
        for prefix, field in self.ids.items():
            if term.startswith(prefix):
                return queryset.filter(**{field: term}), False
        return self.search(request, queryset, term), False

    def search_reach(self, search_term: str) -> str:
        """An id finds few rows; how far other terms reach `reach_of_words` says."""
        term = clean(search_term)
        return FEW if term.startswith(tuple(self.ids)) else self.reach_of_words(term)

    def reach_of_words(self, term: str) -> str:
        """Of a term that is no id."""
        return self.word_reach

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Rows that a term which is no id finds: none, unless a page knows more."""
        return rows.none()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The facts, with what `describe` says of the row below them."""
        row = self.get_object(request, unquote(object_id))
        more = {} if row is None else self.describe(row, request)
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **more}
        )
        return response

    def describe(self, row: Any, request: HttpRequest) -> dict[str, Any]:
        """Context for the template below the facts."""
        return {}


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
