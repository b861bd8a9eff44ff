"""Sessions: the list, and one conversation as it was held."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from sessions_app.admin.base import (
    AgentFilter,
    LookOnly,
    labelled,
    show_cost,
    show_json,
    show_time,
    show_tokens,
    to_text,
)
from sessions_app.admin.tables import table_of_model_calls, table_of_runs
from sessions_app.models import Session
from sessions_app.projection import project

SHOWN_MESSAGES = 200
STATUS = {
    "active": "success",
    "running": "info",
    "waiting": "warning",
    "idle": "",
    "expired": "danger",
    "archived": "",
}


@admin.register(Session)
class SessionAdmin(LookOnly):
    """What was said, what ran, what it cost."""

    list_display = (
        "name", "agent", "scope", "state", "messages", "tokens", "cost", "updated"
    )  # fmt: skip
    list_filter = ("status", AgentFilter, "updated_at")
    search_fields = ("id", "scope_id", "title")
    search_help_text = "An id, a scope, or a part of a title"
    ordering = ("-updated_at", "-id")
    sortable_by = ()
    change_form_outer_after_template = "admin/sessions_app/session.html"
    fieldsets = (
        (None, {"fields": (
            ("name", "state"), ("agent", "scope"), ("model_name", "cost"),
            ("tokens", "messages"), ("created", "updated"),
        )}),
        ("More", {"classes": ["collapse"], "fields": (
            "id", "session_type", "automation", "tag_list", "metadata_json", "reserved_seq",
        )}),
    )  # fmt: skip
    readonly_fields = (
        "name", "state", "scope", "model_name", "messages", "cost", "tokens", "created", "updated",
        "tag_list", "metadata_json",
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Session], search_term: str
    ) -> tuple[QuerySet[Session], bool]:
        """Ids and scopes whole, by their index; titles by a part."""
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        if term.startswith("sess_"):
            return queryset.filter(pk=term), False
        if term.startswith("run_"):
            return queryset.filter(runs=term), False
        return queryset.filter(Q(scope_id=term) | Q(title__icontains=term)), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The facts, the transcript, runs and model calls."""
        session = self.get_object(request, unquote(object_id))
        more: dict[str, Any] = {} if session is None else _describe(session, request)
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **more}
        )
        return response

    @admin.display(description="Session", ordering="title")
    def name(self, row: Session) -> str:
        return row.title or row.pk

    @admin.display(description="Scope")
    def scope(self, row: Session) -> str:
        return row.scope_id or "(empty)"

    @labelled("Status", STATUS)
    def state(self, row: Session) -> str:
        return row.status

    @admin.display(description="Messages")
    def messages(self, row: Session) -> str:
        return f"{row.message_count:,}"

    @admin.display(description="Tokens")
    def tokens(self, row: Session) -> str:
        return show_tokens(row)

    @admin.display(description="Cost")
    def cost(self, row: Session) -> str:
        return show_cost(row)

    @admin.display(description="Model")
    def model_name(self, row: Session) -> str:
        return f"{row.provider}/{row.model}"

    @admin.display(description="Created")
    def created(self, row: Session) -> str:
        return show_time(row.created_at)

    @admin.display(description="Updated")
    def updated(self, row: Session) -> str:
        return show_time(row.updated_at)

    @admin.display(description="Tags")
    def tag_list(self, row: Session) -> str:
        return ", ".join(row.tags) or "-"

    @admin.display(description="Metadata")
    def metadata_json(self, row: Session) -> str:
        return show_json(row.metadata)


def _describe(session: Session, request: HttpRequest) -> dict[str, Any]:
    messages = project(session).messages
    left_out = 0 if "all" in request.GET else max(0, len(messages) - SHOWN_MESSAGES)
    return {
        "transcript": [_prepare(message) for message in messages[left_out:]],
        "left_out": left_out,
        "runs_table": table_of_runs(session.pk),
        "calls_table": table_of_model_calls(session_id=session.pk),
    }


def _prepare(message: dict[str, Any]) -> dict[str, Any]:
    """What the template needs as text."""
    calls = [{**call, "shown_arguments": to_text(call["args"])} for call in message["toolCalls"]]
    widgets = [{**widget, "text": to_text(widget["data"])} for widget in message["widgets"]]
    return {**message, "toolCalls": calls, "shown_widgets": widgets}
