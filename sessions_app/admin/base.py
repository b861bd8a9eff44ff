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

from agentsite.rows.keyset import KeysetAdmin
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


class BigTable(KeysetAdmin, LookOnly):
    """Rows in such numbers that pages are turned by place (`rows.keyset`)."""

    ids: ClassVar[dict[str, str]] = {"sess_": "session_id", "run_": "run_id"}

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
