"""Runs: how each ended, what it called, what it cost."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator

from agentsite.rows.filters import ScopeFilter, Times
from agentsite.rows.keyset import FEW, INDEXED
from sessions_app.admin.base import (
    AgentFilter,
    BigTable,
    labelled,
    link,
    show_cost,
    show_json,
    show_span,
    show_time,
    show_tokens,
)
from sessions_app.admin.filters import (
    CostFilter,
    OutcomeFilter,
    RunAutomationFilter,
    RunKindFilter,
    SpokenFilter,
    by_words,
    split_time,
)
from sessions_app.admin.run_actions import RunActions
from sessions_app.admin.run_page import describe_run
from sessions_app.models import Run, Session
from sessions_app.reading import first_said, is_scope

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
class RunAdmin(RunActions, BigTable):
    """One message or trigger, to its end."""

    list_display = (
        "began", "said", "scope", "agent", "outcome", "turns", "tokens", "cost", "took",
        "conversation",
    )  # fmt: skip
    list_display_links = ("began", "said")
    list_filter = (
        ScopeFilter, ("created_at", Times), SpokenFilter, OutcomeFilter, AgentFilter,
        RunAutomationFilter, RunKindFilter, CostFilter,
    )  # fmt: skip
    keyset = "created_at"
    search_fields = ("id", "session_id")
    search_help_text = "An id, words said, or a scope (2026-05-06 14:30)"
    ordering = ("-created_at", "-id")
    change_form_outer_before_template = "admin/sessions_app/run_head.html"
    change_form_outer_after_template = "admin/sessions_app/run.html"
    fieldsets = (
        (None, {"fields": (
            ("conversation", "outcome"), ("agent", "scope"), ("tokens", "cost"),
            ("turns", "took"), ("began", "ended"), "original", "failure",
        )}),
        ("More", {"classes": ["collapse"], "fields": (
            ("agent_version", "agent_hash"), ("attempt", "losses"), ("owner", "lease_until"),
            ("first_seq", "last_seq"), "asked", "stands",
        )}),
    )  # fmt: skip
    readonly_fields = (
        "conversation", "outcome", "scope", "tokens", "cost", "took", "began", "ended",
        "original", "failure", "asked", "stands",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        rows: QuerySet[Run] = super().get_queryset(request)
        return rows.defer("state", "request")

    ids: ClassVar[dict[str, str]] = {"sess_": "session_id", "run_": "pk"}

    def search(self, request: HttpRequest, rows: QuerySet[Run], term: str) -> QuerySet[Run]:
        """Whole scopes, by their index; else what was said, both perhaps at a time."""
        term, span = split_time(term)
        if span is not None:
            rows = rows.filter(created_at__range=span)
        if is_scope(term):
            return rows.filter(scope_id=term)
        return by_words(request, rows, term, None, span)

    def reach_of_words(self, term: str) -> str:
        """A scope has an index; words are few messages."""
        return INDEXED if is_scope(split_time(term)[0]) else FEW

    def complete_page(self, rows: list[Run]) -> list[Run]:
        """With the first words of the message that started each run."""
        words = first_said([row.pk for row in rows])
        for row in rows:
            row.words = words.get(row.pk, "")  # type: ignore[attr-defined]  # for the cell below
        return rows

    def describe(self, row: Run, request: HttpRequest) -> dict[str, Any]:
        """The timeline."""
        return describe_run(row, request)

    @admin.display(description="Said")
    def said(self, row: Run) -> str:
        words = Truncator(row.words).chars(70) or "(nothing)"  # type: ignore[attr-defined]
        return format_html(
            '<span class="ag-said">{}{}</span>', "Copy: " if row.copy_of else "", words
        )

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

    @admin.display(description="Copy of")
    def original(self, row: Run) -> str:
        """A copy tells what another run did; cost and metering are that one's."""
        return link(Run, row.copy_of, row.copy_of) if row.copy_of else "-"

    @admin.display(description="Error")
    def failure(self, row: Run) -> str:
        return f"{row.error['message']} ({row.error['code']})" if row.error else "-"

    @admin.display(description="Request")
    def asked(self, row: Run) -> str:
        return show_json(row.request)

    @admin.display(description="State")
    def stands(self, row: Run) -> str:
        return show_json(row.state)
