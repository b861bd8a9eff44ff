"""Operators set budgets and prices, see what is spent and left, and close alerts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types

from agentsite.operations.alerts import KINDS
from agentsite.operations.budgets import Standing, read_standings
from agentsite.operations.models import Alert, Budget, PriceOverride
from agentsite.rows.audited import Audited
from agentsite.rows.filters import ChoiceFilter
from agentsite.rows.keyset import FEW, RESIDUAL, KeysetAdmin

SPENT_STATES = {"free": "success", "soft limit passed": "warning", "used up": "danger"}


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """What is limited, and how far."""

    class Meta:
        model = Budget
        fields = ("kind", "agent", "scope_id", "subject", "period", "limit", "soft")
        labels = {"subject": "Agent or key", "scope_id": "Scope"}
        help_texts = {
            "agent": "Of a scope's budget: its agent",
            "scope_id": "Of a scope's budget; may be empty",
            "subject": "Of any other budget: the agent's name, or the number of the key",
        }


@admin.register(Budget)
class BudgetAdmin(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Each stands in place of the manifest's for the same thing and period."""

    form = BudgetForm
    told = ("kind", "agent", "scope_id", "subject", "period", "limit", "soft")
    list_display = ("named", "period", "shown_limit", "spent", "held", "left", "state")
    list_filter = ("kind", "period")
    search_fields = ("scope_id", "subject", "agent")
    ordering = ("kind", "agent", "scope_id", "subject", "period")
    sortable_by = ()
    show_full_result_count = False
    fields = (
        "kind", ("agent", "scope_id"), "subject", "period", ("limit", "soft"),
        ("spent", "held", "left"),
    )  # fmt: skip
    readonly_fields = ("spent", "held", "left")

    class Media:
        css = {"all": ("sessions_app/admin.css",)}

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The page's rows with how they stand, in one query for all of them."""
        page = super().get_changelist_instance(request)
        page.result_list = _stand(list(page.result_list))
        return page

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The same for one."""
        found = super().get_object(request, object_id, from_field)
        return found and _stand([found])[0]

    @admin.display(description="Budget of")
    def named(self, row: Budget) -> str:
        return row.named

    @admin.display(description="Limit")
    def shown_limit(self, row: Budget) -> str:
        return f"${row.limit:,.2f}"

    @admin.display(description="Spent")
    def spent(self, row: Budget) -> str:
        return _dollars(row, "spent")

    @admin.display(description="Reserved")
    def held(self, row: Budget) -> str:
        return _dollars(row, "held")

    @admin.display(description="Left")
    def left(self, row: Budget) -> str:
        return _dollars(row, "left")

    @admin.display(description="State")
    def state(self, row: Budget) -> str:
        now: Standing | None = getattr(row, "standing", None)
        if now is None:
            return "-"
        if now.left <= 0:
            return "used up"
        return "soft limit passed" if now.spent >= now.soft * now.limit_micros else "free"

    state.label = SPENT_STATES  # type: ignore[attr-defined]  # unfold reads it


def _stand(rows: list[Any]) -> list[Any]:
    found = read_standings([row.pk for row in rows])
    for row in rows:
        row.standing = found.get(row.pk)
    return rows


def _dollars(row: Any, name: str) -> str:
    now = getattr(row, "standing", None)
    return "-" if now is None else f"${getattr(now, name) / 1_000_000:,.6f}"


@admin.register(PriceOverride)
class PriceOverrideAdmin(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """US dollars per million tokens; they stand before the catalogue's and the manifests'."""

    list_display = (
        "model_name", "input", "output", "cache_read", "cache_write", "valid_from", "valid_until",
        "state",
    )  # fmt: skip
    list_filter = ("provider",)
    search_fields = ("model", "note")
    ordering = ("provider", "model", "-valid_from")
    sortable_by = ()
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": (("provider", "model"), "valid_from", "valid_until", "note")}),
        ("US dollars per million tokens", {
            "description": "Cached tokens without a price of their own cost what input costs. A "
            "call is priced once, when it is made: what was priced before stays as it is.",
            "fields": (
                ("input", "output"), ("cache_read", "cache_write"), "cache_write_1h",
            ),
        }),
    )  # fmt: skip

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """From now on, unless said otherwise."""
        return {
            "valid_from": timezone.now().replace(microsecond=0),
            **super().get_changeform_initial_data(request),
        }

    @admin.display(description="Model")
    def model_name(self, row: PriceOverride) -> str:
        return f"{row.provider}/{row.model}"

    @admin.display(description="State")
    def state(self, row: PriceOverride) -> str:
        now = timezone.now()
        if row.valid_from > now:
            return "later"
        return "over" if row.valid_until is not None and row.valid_until <= now else "valid"

    state.label = {"valid": "success", "later": "info", "over": ""}  # type: ignore[attr-defined]  # unfold reads it


class OpenFilter(admin.SimpleListFilter):
    """Alerts that nobody has closed."""

    title = "state"
    parameter_name = "state"

    @property
    def reach(self) -> str:
        """Open ones are few."""
        return FEW if self.value() == "open" else RESIDUAL

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """The two states."""
        return [("open", "Open"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        """Rows of the chosen state."""
        if self.value() in ("open", "closed"):
            return queryset.filter(closed_at__isnull=self.value() == "open")
        return queryset


class KindFilter(ChoiceFilter):
    """What alerts are about."""

    title = parameter_name = column = "kind"
    choices_of_column = [(kind, kind) for kind in KINDS]


class LevelFilter(ChoiceFilter):
    """How bad it is."""

    title = parameter_name = column = "level"
    choices_of_column = Alert.Level.choices


@admin.register(Alert)
class AlertAdmin(Audited, KeysetAdmin):  # type: ignore[misc]  # unfold has no types
    """What operators should know of; closing one says who has looked at it."""

    list_display = ("title", "kind", "shown_level", "created_at", "closed_by")
    list_filter = (OpenFilter, KindFilter, LevelFilter)
    keyset = "created_at"
    search_fields = ("title",)
    search_help_text = "A part of a title, or a whole scope"
    ordering = ("-created_at", "-id")
    actions = ("close",)
    readonly_fields = (
        "title", "kind", "level", "agent", "scope_id", "created_at", "facts", "behind",
        "closed_at", "closed_by",
    )  # fmt: skip
    fields = readonly_fields

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    class Media:
        css = {"all": ("sessions_app/admin.css",)}
        js = ("sessions_app/admin_live.js",)

    def search(self, request: HttpRequest, rows: QuerySet[Alert], term: str) -> QuerySet[Alert]:
        """Words of a title, or a scope."""
        return rows.filter(Q(title__icontains=term) | Q(scope_id=term))

    @admin.action(description="Close", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        """Somebody has seen to them."""
        rows = list(queryset.filter(closed_at=None))
        for row in rows:
            self.audit(request, "closed", row, {"closed": False}, {"closed": True})
        chosen = Alert.objects.filter(pk__in=[row.pk for row in rows], closed_at=None)
        count = chosen.update(closed_at=Now(), closed_by=request.user.get_username())
        self.message_user(request, f"{count} closed.", messages.SUCCESS)

    @admin.display(description="Level")
    def shown_level(self, row: Alert) -> str:
        return row.level

    shown_level.label = {"warning": "warning", "critical": "danger"}  # type: ignore[attr-defined]  # unfold reads it

    @admin.display(description="Facts")
    def facts(self, row: Alert) -> str:
        return ", ".join(f"{name}: {value}" for name, value in sorted(row.details.items())) or "-"

    @admin.display(description="Look at")
    def behind(self, row: Alert) -> str:
        """The page with what it is about."""
        page, words = _find_page(row)
        return format_html('<a class="ag-link" href="{}">{}</a>', page, words)


def _is_of_one_run(row: Alert) -> bool:
    """Of a run's budget; that runs are stopped is told once a day, so it is about all of them."""
    stopped = row.level == Alert.Level.CRITICAL
    return row.kind == "budget" and row.details.get("kind") == "run" and not stopped


def _find_page(row: Alert) -> tuple[str, str]:
    facts = row.details
    if row.kind in ("poison", "repeats") or _is_of_one_run(row):
        return reverse("admin:sessions_app_run_change", args=[quote(facts["run"])]), "the run"
    if row.kind == "automation":
        runs = "admin:automations_app_automationrun_change"
        return reverse(runs, args=[quote(facts["automationRun"])]), "its last run"
    if row.kind == "price":
        calls = reverse("admin:sessions_app_modelcall_changelist")
        query = urlencode({"trouble": "unpriced", "q": facts["model"].partition("/")[2]})
        return f"{calls}?{query}", "the calls without a price"
    if row.kind == "provider":
        calls = reverse("admin:sessions_app_modelcall_changelist")
        query = urlencode({"trouble": "failed", "agent": facts["agent"]})
        return f"{calls}?{query}", "the calls that failed"
    if row.agent:
        query = urlencode({"agent": row.agent, "scope": row.scope_id})
        page = f"{reverse('admin:sessions_app_usageday_scope')}?{query}"
    else:
        page = reverse("admin:operations_budget_changelist")
    return page, "the cost behind it"
