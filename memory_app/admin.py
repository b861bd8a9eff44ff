"""Operators trace what is remembered to the run that wrote it, and remove what is poisoned.

Law: texts come from models and strangers: they are shown as text, cut in lists, and
never edited here. Removing is all that an operator does to an entry.
"""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.paginator import (  # type: ignore[import-untyped]  # it has no types
    InfinitePaginator,
)

from agentsite.rows.audited import Audited
from memory_app.actions import forget_entries
from memory_app.models import MemoryEntry, SessionMemory

SHOWN_CHARS = 120
SHOWN_SESSIONS = 20


@admin.register(MemoryEntry)
class MemoryEntryAdmin(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """One fact: where it comes from, and which conversations have seen it."""

    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_display = ("text", "agent", "scope", "category", "run", "created_at", "last_recalled_at")
    list_filter = ("created_at", "last_recalled_at")
    search_fields = ("id", "content", "scope_id", "agent", "source_run", "source_session")
    search_help_text = "Words, an id, a scope, an agent, or the id of a run or a session"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": (
            "whole", ("agent", "scope"), "category", ("run", "session"),
            ("created_at", "updated_at", "last_recalled_at"), "seen_by",
        )}),
    )  # fmt: skip
    readonly_fields = ("whole", "scope", "run", "session", "seen_by")

    def has_add_permission(self, request: HttpRequest, obj: MemoryEntry | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: MemoryEntry | None = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: MemoryEntry) -> None:
        """Remove an entry, and tell those who watch."""
        forget_entries([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MemoryEntry]) -> None:
        """Remove the chosen entries."""
        forget_entries(queryset)

    @admin.display(description="Text")
    def text(self, row: MemoryEntry) -> str:
        line = " ".join(row.content.split())
        return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 1]}…"

    @admin.display(description="Text")
    def whole(self, row: MemoryEntry) -> str:
        return format_html('<span style="white-space: pre-wrap">{}</span>', row.content)

    @admin.display(description="Scope")
    def scope(self, row: MemoryEntry) -> str:
        return row.scope_id or "(empty)"

    @admin.display(description="Written by run")
    def run(self, row: MemoryEntry) -> str:
        """The run that wrote it; it may be gone with its session."""
        if not row.source_run:
            return "the caller, over REST"
        return _link("admin:sessions_app_run_change", row.source_run)

    @admin.display(description="In session")
    def session(self, row: MemoryEntry) -> str:
        if not row.source_session:
            return "-"
        return _link("admin:sessions_app_session_change", row.source_session)

    @admin.display(description="Seen by sessions")
    def seen_by(self, row: MemoryEntry) -> str:
        """Conversations whose model has read it, the newest ones."""
        shown = SessionMemory.objects.for_partition(row.agent, row.scope_id).shown(row.pk)
        ids = shown.values_list("session_id", flat=True)[:SHOWN_SESSIONS]
        links = ((_link("admin:sessions_app_session_change", pk),) for pk in ids)
        return format_html_join(", ", "{}", links) or "none"


def _link(page: str, pk: str) -> str:
    return format_html('<a href="{}">{}</a>', reverse(page, args=[pk]), pk)
