"""Runs: how each ended, what it called, what it cost."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from sessions_app.admin.base import (
    AgentFilter,
    LookOnly,
    labelled,
    link,
    show_cost,
    show_json,
    show_span,
    show_time,
    show_tokens,
)
from sessions_app.admin.tables import table_of_model_calls, table_of_tool_calls
from sessions_app.models import Run, Session

OUTCOME = {
    "model_stop": "success",
    "stopped": "success",
    "running": "info",
    "waiting": "warning",
    "queued": "warning",
    "max_turns": "warning",
    "loop_detected": "warning",
    "budget_exceeded": "warning",
    "user_abort": "warning",
    "error": "danger",
}


@admin.register(Run)
class RunAdmin(LookOnly):
    """One message or trigger, to its end."""

    list_display = (
        "id", "conversation", "scope", "outcome", "turns", "tokens", "cost", "took", "began"
    )  # fmt: skip
    list_filter = ("status", "reason", AgentFilter, "created_at")
    search_fields = ("id", "session_id")
    search_help_text = "The id of a run or a session"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    change_form_outer_after_template = "admin/sessions_app/run.html"
    fieldsets = (
        (None, {"fields": (
            ("conversation", "outcome"), ("agent", "scope"), ("tokens", "cost"),
            ("turns", "took"), ("began", "ended"), "failure",
        )}),
        ("More", {"classes": ["collapse"], "fields": (
            ("agent_version", "agent_hash"), ("attempt", "losses"), ("owner", "lease_until"),
            ("first_seq", "last_seq"), "asked", "stands",
        )}),
    )  # fmt: skip
    readonly_fields = (
        "conversation", "outcome", "scope", "tokens", "cost", "took", "began", "ended",
        "failure", "asked", "stands",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        rows: QuerySet[Run] = super().get_queryset(request)
        return rows.defer("state", "request")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """Whole ids, by their index."""
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        if term.startswith("sess_"):
            return queryset.filter(session_id=term), False
        return queryset.filter(pk=term), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The facts, tool calls and model calls."""
        run = self.get_object(request, unquote(object_id))
        more: dict[str, Any] = {}
        if run is not None:
            more["tools_table"] = table_of_tool_calls(run)
            more["calls_table"] = table_of_model_calls(run_id=run.pk)
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **more}
        )
        return response

    @admin.display(description="Session")
    def conversation(self, row: Run) -> str:
        return link(Session, row.session_id, f"{row.session_id[:13]}…")

    @admin.display(description="Scope")
    def scope(self, row: Run) -> str:
        return row.scope_id or "(empty)"

    @labelled("Outcome", OUTCOME)
    def outcome(self, row: Run) -> str:
        return row.reason or row.status

    @admin.display(description="Tokens")
    def tokens(self, row: Run) -> str:
        return show_tokens(row)

    @admin.display(description="Cost")
    def cost(self, row: Run) -> str:
        return show_cost(row)

    @admin.display(description="Took")
    def took(self, row: Run) -> str:
        return show_span(row.created_at, row.ended_at)

    @admin.display(description="Began")
    def began(self, row: Run) -> str:
        return show_time(row.created_at)

    @admin.display(description="Ended")
    def ended(self, row: Run) -> str:
        return show_time(row.ended_at)

    @admin.display(description="Error")
    def failure(self, row: Run) -> str:
        return f"{row.error['message']} ({row.error['code']})" if row.error else "-"

    @admin.display(description="Request")
    def asked(self, row: Run) -> str:
        return show_json(row.request)

    @admin.display(description="State")
    def stands(self, row: Run) -> str:
        return show_json(row.state)
