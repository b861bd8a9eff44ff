"""Operators trace what is remembered to the run that wrote it, and remove what is poisoned.

Law: texts come from models and strangers: they are shown as text, cut in lists, and
never edited here. Removing is all that an operator does to an entry.
"""

from __future__ import annotations

import re
from typing import ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from agentsite.rows.audited import Audited
from agentsite.rows.filters import NameFilter, OtherTimes, ScopeFilter, Times
from agentsite.rows.keyset import FEW, INDEXED, RESIDUAL, KeysetAdmin
from memory_app.actions import forget_entries
from memory_app.models import MemoryEntry, SessionMemory

SHOWN_CHARS = 120
SHOWN_SESSIONS = 20
ENTRY = re.compile(r"[0-9a-f]{8}|[0-9a-f]{32}")


@admin.register(MemoryEntry)
class MemoryEntryAdmin(Audited, KeysetAdmin):  # type: ignore[misc]  # unfold has no types
    """One fact: where it comes from, and which conversations have seen it."""

    keyset = "created_at"
    ids: ClassVar[dict[str, str]] = {"sess_": "source_session", "run_": "source_run"}
    list_display = ("text", "agent", "scope", "category", "run", "created_at", "last_recalled_at")
    list_filter = (
        ScopeFilter, ("created_at", Times), NameFilter, ("last_recalled_at", OtherTimes)
    )  # fmt: skip
    search_fields = ("id",)
    search_help_text = "An id of an entry, a run or a session, a scope, or a part of the text"
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": (
            "whole", ("agent", "scope"), "category", ("run", "session"),
            ("created_at", "updated_at", "last_recalled_at"), "seen_by",
        )}),
    )  # fmt: skip
    readonly_fields = ("whole", "scope", "run", "session", "seen_by")

    class Media:
        css = {"all": ("sessions_app/admin.css",)}

    def search(
        self, request: HttpRequest, rows: QuerySet[MemoryEntry], term: str
    ) -> QuerySet[MemoryEntry]:
        """Entries by their id, or its beginning as models name it; a scope; else by a part."""
        if ENTRY.fullmatch(term):
            return rows.filter(pk__gte=term, pk__lte=f"{term:f<32}")
        if _is_scope(term):
            return rows.filter(scope_id=term)
        return rows.filter(Q(content__icontains=term) | Q(agent=term))

    def reach_of_words(self, term: str) -> str:
        """Ids and scopes have indexes, texts have none."""
        if ENTRY.fullmatch(term):
            return FEW
        return INDEXED if _is_scope(term) else RESIDUAL

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


def _is_scope(term: str) -> bool:
    return MemoryEntry.objects.filter(scope_id=term).exists()


def _link(page: str, pk: str) -> str:
    return format_html('<a href="{}">{}</a>', reverse(page, args=[pk]), pk)
