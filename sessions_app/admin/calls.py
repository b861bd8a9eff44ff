"""Model calls: the metering, one line for each request to a provider."""

from __future__ import annotations

from typing import Any, get_args

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from agentsite.engine.ports import Purpose
from agentsite.rows.filters import ScopeFilter, Times
from sessions_app.admin.base import (
    AgentFilter,
    BigTable,
    link,
    show_json,
    show_money,
    show_ms,
    show_time,
)
from sessions_app.admin.prompt_page import show_prompt
from sessions_app.models import ModelCall, Run, Session


class FailedFilter(admin.SimpleListFilter):
    """Calls that failed, or whose price nobody knows."""

    title = "trouble"
    parameter_name = "trouble"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """The two kinds."""
        return [("failed", "Failed"), ("unpriced", "Price unknown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ModelCall]) -> QuerySet[ModelCall]:
        """Rows of the chosen kind."""
        if self.value() == "failed":
            return queryset.exclude(error="")
        return queryset.filter(cost_micros=None) if self.value() == "unpriced" else queryset


class CallScopeFilter(ScopeFilter):
    """Calls of one scope."""

    residual = True


class CallAgentFilter(AgentFilter):
    """Calls of one agent."""

    residual = True


class PurposeFilter(admin.SimpleListFilter):
    """What calls were made for."""

    title = parameter_name = "purpose"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """All purposes."""
        return [(purpose, purpose) for purpose in get_args(Purpose)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ModelCall]) -> QuerySet[ModelCall]:
        """Calls for the chosen one."""
        return queryset.filter(purpose=self.value()) if self.value() else queryset


class ProviderFilter(PurposeFilter):
    """Who was asked."""

    title = parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """All vendors."""
        return [(name, name) for name in ("anthropic", "openai", "google", "scripted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ModelCall]) -> QuerySet[ModelCall]:
        """Calls of the chosen one."""
        return queryset.filter(provider=self.value()) if self.value() else queryset


@admin.register(ModelCall)
class ModelCallAdmin(BigTable):
    """Tokens in disjoint classes, the price that was used, what it cost."""

    list_display = (
        "at", "purpose", "model_name", "scope", "input_shown", "cached", "output_shown", "cost",
        "first", "whole", "failure",
    )  # fmt: skip
    list_display_links = ("at",)
    list_filter = (
        CallScopeFilter, ("created_at", Times), PurposeFilter, ProviderFilter, FailedFilter,
        CallAgentFilter,
    )  # fmt: skip
    keyset = "created_at"
    search_fields = ("session_id", "run_id", "model", "scope_id")
    search_help_text = "The id of a session or a run, a model, or a scope"
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": (
            ("at", "purpose"), ("model_name", "cost"), ("agent", "scope"),
            ("conversation", "run_link"), ("first", "whole"), ("attempt", "turn"), "failure",
        )}),
        ("Tokens", {"fields": (
            ("input", "output"), ("cache_read", "cache_write"), ("cache_write_1h", "reasoning"),
        )}),
        ("Price", {"fields": ("price_json",)}),
    )  # fmt: skip
    readonly_fields = (
        "at", "model_name", "cost", "scope", "conversation", "run_link", "first", "whole",
        "failure", "price_json",
    )  # fmt: skip

    def search(
        self, request: HttpRequest, rows: QuerySet[ModelCall], term: str
    ) -> QuerySet[ModelCall]:
        """Whole words, by their index where there is one."""
        return rows.filter(Q(model=term) | Q(scope_id=term))

    change_form_outer_after_template = "admin/sessions_app/modelcall.html"

    def describe(self, row: ModelCall, request: HttpRequest) -> dict[str, Any]:
        """The request as it was sent."""
        return {"prompt": show_prompt(row)}

    @admin.display(description="At")
    def at(self, row: ModelCall) -> str:
        return show_time(row.created_at)

    @admin.display(description="Model")
    def model_name(self, row: ModelCall) -> str:
        return f"{row.provider}/{row.model}"

    @admin.display(description="Scope")
    def scope(self, row: ModelCall) -> str:
        return row.scope_id or "(empty)"

    @admin.display(description="Input")
    def input_shown(self, row: ModelCall) -> str:
        return f"{row.input + row.cache_write + row.cache_write_1h:,}"

    @admin.display(description="Cached")
    def cached(self, row: ModelCall) -> str:
        return f"{row.cache_read:,}"

    @admin.display(description="Output")
    def output_shown(self, row: ModelCall) -> str:
        return f"{row.output + row.reasoning:,}"

    @admin.display(description="Cost")
    def cost(self, row: ModelCall) -> str:
        return show_money(row.cost_micros)

    @admin.display(description="First token")
    def first(self, row: ModelCall) -> str:
        return show_ms(row.first_token_ms)

    @admin.display(description="Whole")
    def whole(self, row: ModelCall) -> str:
        return show_ms(row.total_ms)

    @admin.display(description="Error")
    def failure(self, row: ModelCall) -> str:
        return row.error or "-"

    @admin.display(description="Session")
    def conversation(self, row: ModelCall) -> str:
        if not row.session_id:
            return "of no session"
        known = Session.objects.filter(pk=row.session_id).exists()
        return link(Session, row.session_id) if known else f"{row.session_id} (deleted)"

    @admin.display(description="Run")
    def run_link(self, row: ModelCall) -> str:
        if not row.run_id:
            return "of no run"
        known = Run.objects.filter(pk=row.run_id).exists()
        return link(Run, row.run_id) if known else f"{row.run_id} (deleted)"

    @admin.display(description="Price used")
    def price_json(self, row: ModelCall) -> str:
        return "unknown" if row.price is None else show_json(row.price)
