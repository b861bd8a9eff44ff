"""Operators see documents and what became of them, correct them, and replay dead letters.

Law: payloads come from models and strangers: they are shown as text. Whatever is written or
deleted here goes through the store's own verbs and validation.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode

from agentsite.rows.audited import Audited
from agentsite.rows.filters import CountedScopeFilter, NameFilter, OtherTimes, few_keys
from agentsite.rows.keyset import FEW, INDEXED, RESIDUAL, KeysetAdmin
from stores_app import deadletters
from stores_app.actions import delete
from stores_app.errors import StoreError, StoreNotFound
from stores_app.forms import PlaceForm, of_place
from stores_app.models import DeadLetter, Document, DocumentVersion
from stores_app.places import Place
from stores_app.schema_form import build_fields
from stores_app.specs import list_stores, open_for_staff

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


def find_store(request: HttpRequest, row: Any) -> Place | None:
    """The store of a row, or of a new one; None while none is chosen, or where it is gone."""
    given = request.POST if "store" in request.POST else request.GET
    names = ("agent", "scope_id", "store")
    agent, scope_id, store = (getattr(row, n) if row else given.get(n, "") for n in names)
    try:
        return open_for_staff(agent, scope_id, store) if store else None
    except StoreError:
        return None


class StoreFilter(NameFilter):
    """Of one store."""

    title = parameter_name = "store"


class SharedFilter(admin.SimpleListFilter):
    """What every scope may read."""

    title = parameter_name = "shared"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Read by all scopes"), ("no", "Of one scope")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Documents of the chosen kind."""
        return queryset.filter(shared=self.value() == "yes") if self.value() else queryset


class DeletedFilter(admin.SimpleListFilter):
    """Last versions of deleted documents, which have an index; all others have none."""

    title = parameter_name = "deleted"

    @property
    def reach(self) -> str:
        return INDEXED if self.value() == "yes" else RESIDUAL

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Of deleted documents"), ("no", "Superseded by another one")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Versions of the chosen kind."""
        return queryset.filter(deleted=self.value() == "yes") if self.value() else queryset


class Rows(Audited, KeysetAdmin):  # type: ignore[misc]  # unfold has no types
    """Large tables, the newest rows first."""

    keyset = ""
    has_keys = True
    """Rows have a key, with an index."""
    search_fields = ("store",)
    search_help_text = "A whole key, scope, store or agent"
    ordering = ("-id",)

    class Media:
        css = {"all": ("sessions_app/admin.css",)}

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Whole words, by the best index that knows them."""
        return rows.filter(self._find(term)[1])

    def reach_of_words(self, term: str) -> str:
        """Keys have an index, so have scopes; those with many rows are met on a walk."""
        return self._find(term)[0]

    def _find(self, term: str) -> tuple[str, Q]:
        rows: QuerySet[Any] = self.model._default_manager.all()
        if self.has_keys and rows.filter(key=term).exists():
            return INDEXED, Q(key=term)
        of_scope = few_keys(rows.filter(scope_id=term))
        if of_scope is None:
            return RESIDUAL, Q(scope_id=term)
        if of_scope:
            return FEW, Q(pk__in=of_scope)
        return RESIDUAL, Q(store=term) | Q(agent=term)

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

    actions = None
    list_display = ("key", "store", "agent", "scope", "version", "updated_at", "expires_at")
    list_filter = (
        CountedScopeFilter, NameFilter, StoreFilter, SharedFilter, ("updated_at", OtherTimes)
    )  # fmt: skip
    readonly_fields = (
        "key", "scope", "version", "writer", "created_at", "updated_at", "expires_at", "content",
        "earlier",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(admin.ModelAdmin.has_add_permission(self, request))

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(admin.ModelAdmin.has_change_permission(self, request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(admin.ModelAdmin.has_delete_permission(self, request, obj))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """First where, then what: the second page has the fields of the store's schema."""
        agent, _, store = request.POST.get("place", "").partition("/")
        if (agent, store) in list_stores():
            chosen = {"agent": agent, "store": store, "scope_id": request.POST.get("scope_id", "")}
            return HttpResponseRedirect(f"{request.path}?{urlencode(chosen)}")
        answer: HttpResponse = super().add_view(request, form_url, extra_context)
        return answer

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        place = find_store(request, obj)
        if obj is None and place is None:
            return ((None, {"fields": ("place", "scope_id")}),)
        typed = list(build_fields(place.spec)) if place is not None else []
        if obj is None:
            hidden = ("agent", "scope_id", "store")
            return ((str(place and place.name), {"fields": (*typed, *hidden)}),)
        facts = (
            ("store", "agent", "scope"), ("key", "version"), "writer",
            ("created_at", "updated_at", "expires_at"),
        )  # fmt: skip
        return (
            (None, {"fields": facts}),
            ("Document", {"fields": (*typed, "seen_version", "content")}),
            ("History", {"fields": ("earlier",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else (*self.readonly_fields, "store", "agent")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        place = find_store(request, obj)
        kwargs["form"] = PlaceForm if obj is None and place is None else of_place(place)
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.staff = request.user.get_username()
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {name: request.GET.get(name, "") for name in ("agent", "scope_id", "store")}

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
        transaction.set_rollback(True)  # the log was told of a deletion that does not happen
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
    list_filter = (
        DeletedFilter, CountedScopeFilter, NameFilter, StoreFilter, ("superseded_at", OtherTimes)
    )  # fmt: skip
    fields = (
        ("store", "agent", "scope"), ("key", "version"), "content", "writer",
        ("written_at", "superseded_at", "deleted"),
    )  # fmt: skip
    readonly_fields = ("scope", "content", "writer")


class LetterFilter(admin.SimpleListFilter):
    """How letters stand."""

    title = parameter_name = "status"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(DeadLetter.Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Letters that stand so."""
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(Rows):
    """What stores could not take."""

    actions = ("replay", "discard")
    list_display = ("id", "status", "store", "agent", "scope", "brief", "attempts", "created_at")
    list_filter = (
        LetterFilter, CountedScopeFilter, NameFilter, StoreFilter, ("created_at", OtherTimes)
    )  # fmt: skip
    has_keys = False
    search_help_text = "A whole scope, store or agent"
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
                with transaction.atomic():
                    problem = deadletters.replay(letter.pk, letter.scope_id, place)
                    self._tell(request, "replayed", letter)
            except StoreError as error:
                problem = str(error)
            if problem is None:
                self.message_user(request, f"{letter} is stored.", messages.SUCCESS)
            else:
                self.message_user(request, f"{letter}: {problem}", messages.ERROR)

    @admin.action(description="Discard them", permissions=["replay"])
    def discard(self, request: HttpRequest, rows: QuerySet[DeadLetter]) -> None:
        """Settle letters without storing them."""
        with transaction.atomic():
            letters = list(rows.filter(status=DeadLetter.Status.OPEN).select_for_update())
            count = deadletters.discard([letter.pk for letter in letters])
            for letter in letters:
                self._tell(request, "discarded", letter)
        self.message_user(request, f"{count} discarded.", messages.SUCCESS)

    def _tell(self, request: HttpRequest, verb: str, before: DeadLetter) -> None:
        after = DeadLetter.objects.get(pk=before.pk)
        told = [{"status": row.status, "attempts": row.attempts} for row in (before, after)]
        self.audit(request, verb, before, *told)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("stores_app.change_deadletter")
