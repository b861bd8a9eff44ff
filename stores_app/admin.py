"""Operators see documents and what became of them, correct them, and replay dead letters.

Law: payloads come from models and strangers: they are shown as text. Whatever is written or
deleted here goes through the store's own verbs and validation.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.paginator import (  # type: ignore[import-untyped]  # it has no types
    InfinitePaginator,
)

from stores_app import deadletters
from stores_app.actions import delete
from stores_app.errors import StoreError, StoreNotFound
from stores_app.forms import DocumentForm
from stores_app.models import DeadLetter, Document, DocumentVersion
from stores_app.specs import open_for_staff

SHOWN_CHARS = 100
SHOWN_VERSIONS = 20
REFUSED = "stores_app.refused"
"""Marks a request whose deletion did not happen."""


def show_json(value: Any) -> str:
    """JSON as it is read best."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre style="white-space: pre-wrap">{}</pre>', text)


def show_trace(trace: dict[str, Any] | None) -> str:
    """Who wrote a version, with the way to the run."""
    if not trace:
        return "not kept"
    source, run = trace.get("source", ""), trace.get("runId", "")
    if not run:
        return f"{source} {trace.get('tool', '')}".strip()
    try:
        page = reverse("admin:sessions_app_run_change", args=[run])
    except NoReverseMatch:
        return f"{source} of run {run}"
    return format_html('{} {} of <a href="{}">{}</a>', source, trace.get("tool", ""), page, run)


class Rows(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Large tables: no page counts them."""

    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description="Scope")
    def scope(self, row: Any) -> str:
        return row.scope_id or "(empty)"

    @admin.display(description="Payload")
    def content(self, row: Any) -> str:
        return show_json(row.payload)

    @admin.display(description="Written by")
    def writer(self, row: Any) -> str:
        return show_trace(row.trace)


@admin.register(Document)
class DocumentAdmin(Rows):
    """Newest versions."""

    form = DocumentForm
    actions = None
    list_display = ("key", "store", "agent", "scope", "version", "updated_at", "expires_at")
    list_filter = ("shared", "updated_at")
    search_fields = ("=key", "=store", "=scope_id", "=agent")
    search_help_text = "A whole key, store, scope or agent"
    ordering = ("-id",)
    readonly_fields = (
        "key", "scope", "version", "writer", "created_at", "updated_at", "expires_at", "earlier",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(admin.ModelAdmin.has_add_permission(self, request))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(admin.ModelAdmin.has_change_permission(self, request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(admin.ModelAdmin.has_delete_permission(self, request, obj))

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("agent", "scope_id", "store", "payload")}),)
        fields = (
            ("store", "agent", "scope"), ("key", "version"), "payload", "seen_version", "writer",
            ("created_at", "updated_at", "expires_at"), "earlier",
        )  # fmt: skip
        return ((None, {"fields": fields}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.readonly_fields if obj is None else (*self.readonly_fields, "store", "agent")

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        form.staff = request.user.get_username()
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The form has written it."""

    def delete_model(self, request: HttpRequest, obj: Document) -> None:
        """Delete as a caller would, so that references count and history is kept."""
        try:
            try:
                delete(open_for_staff(obj.agent, obj.scope_id, obj.store), obj.key)
            except StoreNotFound:  # the agent has no such store any more: what is left may go
                with transaction.atomic():
                    obj.delete()
        except StoreError as error:
            self._refuse(request, str(error))
        except IntegrityError:
            self._refuse(request, f"{obj} is still referred to by other documents.")

    def _refuse(self, request: HttpRequest, text: str) -> None:
        self.message_user(request, text, messages.ERROR)
        request.META[REFUSED] = True

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> Any:
        """Back to the document when it is still there."""
        if REFUSED in request.META:
            page = reverse("admin:stores_app_document_change", args=[obj_id])
            return HttpResponseRedirect(page)
        return super().response_delete(request, obj_display, obj_id)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return [str(obj) for obj in objs], {}, set(), []

    @admin.display(description="Earlier versions")
    def earlier(self, row: Document) -> str:
        rows = DocumentVersion.objects.of_store(row.agent, row.scope_id, row.store)
        found = rows.filter(key=row.key).order_by("-version")[:SHOWN_VERSIONS]
        lines = (
            (old.version, old.written_at.isoformat(" ", "seconds"), show_trace(old.trace),
             show_json(old.payload))
            for old in found
        )  # fmt: skip
        return format_html_join("", "<p>{} · {} · {}</p>{}", lines) or "none kept"


@admin.register(DocumentVersion)
class DocumentVersionAdmin(Rows):
    """Superseded versions, those of deleted documents as well."""

    actions = None
    list_display = ("key", "version", "store", "agent", "scope", "superseded_at", "deleted")
    list_filter = ("deleted", "superseded_at")
    search_fields = ("=key", "=store", "=scope_id", "=agent")
    ordering = ("-id",)
    fields = (
        ("store", "agent", "scope"), ("key", "version"), "content", "writer",
        ("written_at", "superseded_at", "deleted"),
    )  # fmt: skip
    readonly_fields = ("scope", "content", "writer")


@admin.register(DeadLetter)
class DeadLetterAdmin(Rows):
    """What stores could not take."""

    actions = ("replay", "discard")
    list_display = ("id", "status", "store", "agent", "scope", "brief", "attempts", "created_at")
    list_filter = ("status", "created_at")
    search_fields = ("=store", "=scope_id", "=agent")
    ordering = ("-id",)
    fields = (
        ("store", "agent", "scope"), ("status", "attempts"), "problem", "documents", "cause",
        ("created_at", "settled_at"),
    )  # fmt: skip
    readonly_fields = ("scope", "documents", "cause", "brief")

    @admin.display(description="Problem")
    def brief(self, row: DeadLetter) -> str:
        text = row.problem
        return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"

    @admin.display(description="Documents")
    def documents(self, row: DeadLetter) -> str:
        return show_json(row.items)

    @admin.display(description="Written by")
    def cause(self, row: DeadLetter) -> str:
        origin = row.origin
        return show_trace({**origin, "runId": origin.get("runId", "")})

    @admin.action(description="Store them now", permissions=["replay"])
    def replay(self, request: HttpRequest, rows: QuerySet[DeadLetter]) -> None:
        """Try each letter again; those that fail stay open."""
        for letter in rows.order_by("id"):
            try:
                place = open_for_staff(letter.agent, letter.scope_id, letter.store)
                problem = deadletters.replay(letter.pk, letter.scope_id, place)
            except StoreError as error:
                problem = str(error)
            if problem is None:
                self.message_user(request, f"{letter} is stored.", messages.SUCCESS)
            else:
                self.message_user(request, f"{letter}: {problem}", messages.ERROR)

    @admin.action(description="Discard them", permissions=["replay"])
    def discard(self, request: HttpRequest, rows: QuerySet[DeadLetter]) -> None:
        """Settle letters without storing them."""
        count = deadletters.discard(list(rows.values_list("pk", flat=True)))
        self.message_user(request, f"{count} discarded.", messages.SUCCESS)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("stores_app.change_deadletter")
