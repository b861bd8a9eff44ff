"""Scopes: who was served and what it cost; block, export, erase."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import DatabaseError, connection
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from agentsite.rows.audited import Audited
from agentsite.rows.keyset import FEW, RESIDUAL, KeysetAdmin
from agentsite.rows.tenants import StillWritten, erase_partition
from sessions_app import scopes
from sessions_app.admin.base import AgentFilter, LookOnly, labelled, show_money, show_time
from sessions_app.costing import MOST_SCOPES
from sessions_app.scopes import Scope, ScopeCredential

MOST = 200
"""Sessions of a scope that are counted; what is beyond shows as a plus."""
STATES = {"served": "success", "blocked": "danger"}
SUMS = """
SELECT p.id, s.sessions, u.tokens, u.micros, u.unpriced, s.activity
FROM sessions_app_scope p CROSS JOIN LATERAL (
    SELECT count(*) AS sessions, max(updated_at) AS activity FROM (
        SELECT t.updated_at FROM sessions_app_session t
        WHERE t.agent = p.agent AND t.scope_id = p.scope_id
        ORDER BY t.updated_at DESC, t.id DESC LIMIT %s) newest
) s CROSS JOIN LATERAL (
    SELECT coalesce(sum(d.input + d.cache_read + d.cache_write + d.cache_write_1h + d.output
               + d.reasoning), 0) AS tokens,
           coalesce(sum(d.cost_micros), 0) AS micros, coalesce(sum(d.unpriced), 0) AS unpriced
    FROM sessions_app_usageday d WHERE d.scope_id = p.scope_id AND d.agent = p.agent
) u WHERE p.id = ANY(%s)
"""
"""Tokens and cost are the sums by day that the cost page reads, so the two cannot differ."""


class ScopeAgentFilter(AgentFilter):
    """Scopes of one agent."""

    residual = True


@admin.register(Scope)
class ScopeAdmin(Audited, KeysetAdmin, LookOnly):  # type: ignore[misc]  # unfold has no types
    """Label and context defaults can be changed; the rest is the engine's."""

    list_display = ("name", "agent", "sessions", "tokens", "cost", "activity", "state")
    list_filter = (ScopeAgentFilter,)
    keyset = "last_seen_at"
    search_fields = ("scope_id", "label")
    search_help_text = "A whole scope_id, the beginning of a scope_id, or a part of a label"
    ordering = ("-last_seen_at", "-id")
    actions = ("block", "unblock", "budget", "compare", "export", "erase")
    told = ("label", "blocked_at")
    fields = (
        ("agent", "shown_id"), "label", "context", ("sessions", "tokens", "cost"),
        "over_time", ("created", "seen", "activity"), "state", "credentials",
    )  # fmt: skip
    readonly_fields = (
        "agent", "shown_id", "sessions", "tokens", "cost", "over_time", "created", "seen",
        "activity", "state", "credentials",
    )  # fmt: skip

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """For those who may change scopes."""
        allowed: bool = request.user.has_perm("sessions_app.change_scope")
        return allowed

    def search(self, request: HttpRequest, rows: QuerySet[Scope], term: str) -> QuerySet[Scope]:
        """One scope by its whole id; else those that begin like this, labels by a part."""
        if _is_known(term):
            return rows.filter(scope_id=term)
        return rows.filter(Q(scope_id__startswith=term) | Q(label__icontains=term))

    def reach_of_words(self, term: str) -> str:
        """A whole id has an index."""
        return FEW if _is_known(term) else RESIDUAL

    def complete_page(self, rows: list[Any]) -> list[Any]:
        """With the sums of each, in one query for all of them."""
        return add_up(rows)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The same for one."""
        found = super().get_object(request, object_id, from_field)
        return found and add_up([found])[0]

    # ---- actions ----------------------------------------------------------------------

    @admin.action(description="Block", permissions=["change"])
    def block(self, request: HttpRequest, queryset: QuerySet[Scope]) -> None:
        """Refuse its requests with 403 `scope_blocked`."""
        self._tell(request, "blocked", queryset.filter(blocked_at=None), blocked=True)
        count = scopes.block(queryset.order_by())
        text = f"{count} blocked. Servers that have just served one do so for some seconds more."
        self.message_user(request, text, messages.SUCCESS)

    @admin.action(description="Unblock", permissions=["change"])
    def unblock(self, request: HttpRequest, queryset: QuerySet[Scope]) -> None:
        """Serve it again."""
        self._tell(request, "unblocked", queryset.exclude(blocked_at=None), blocked=False)
        count = scopes.unblock(queryset.order_by())
        self.message_user(request, f"{count} served again.", messages.SUCCESS)

    def _tell(
        self, request: HttpRequest, verb: str, rows: QuerySet[Scope], *, blocked: bool
    ) -> None:
        for row in rows:
            self.audit(request, verb, row, {"blocked": not blocked}, {"blocked": blocked})

    @admin.action(description="Set a budget…", permissions=["budget"])
    def budget(self, request: HttpRequest, queryset: QuerySet[Scope]) -> HttpResponse | None:
        """To the form, filled in for one scope."""
        rows = list(queryset[:2])
        if len(rows) != 1:
            self.message_user(request, "Choose one scope for a budget.", messages.WARNING)
            return None
        named = {"kind": "scope", "agent": rows[0].agent, "scope_id": rows[0].scope_id}
        return HttpResponseRedirect(
            f"{reverse('admin:operations_budget_add')}?{urlencode({**named, 'period': 'day'})}"
        )

    def has_budget_permission(self, request: HttpRequest) -> bool:
        """For those who may set budgets."""
        return request.user.has_perm("operations.add_budget")

    @admin.action(description="Compare their cost", permissions=["view"])
    def compare(self, request: HttpRequest, queryset: QuerySet[Scope]) -> HttpResponse:
        """To the cost page of these scopes."""
        ids = list(queryset.values_list("scope_id", flat=True)[:MOST_SCOPES])
        page = reverse("admin:sessions_app_usageday_compare")
        return HttpResponseRedirect(f"{page}?{urlencode({'scope': ids}, doseq=True)}")

    @admin.action(description="Export as JSON", permissions=["change"])
    def export(self, request: HttpRequest, queryset: QuerySet[Scope]) -> HttpResponse | None:
        """One scope as a download."""
        keys = list(queryset.values_list("pk", flat=True)[:2])
        if len(keys) != 1:
            self.message_user(request, "Choose one scope to export.", messages.WARNING)
            return None
        return HttpResponseRedirect(f"/accounts/scopes/{keys[0]}/export")

    @admin.action(description="Erase for good…", permissions=["change"])
    def erase(self, request: HttpRequest, queryset: QuerySet[Scope]) -> HttpResponse | None:
        """Ask, then delete everything of these scopes."""
        if "sure" in request.POST:
            self._erase(request, list(queryset))
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Erase scopes for good",
            "opts": self.opts,
            "rows": add_up(list(queryset)),
            "selected": request.POST.getlist("_selected_action"),
        }
        return TemplateResponse(request, "admin/sessions_app/erase_scopes.html", context)

    def _erase(self, request: HttpRequest, rows: list[Scope]) -> None:
        scopes.block(Scope.objects.filter(pk__in=[row.pk for row in rows]))
        for row in rows:
            chosen = Scope.objects.filter(pk=row.pk)
            len(chosen)  # read now: what is told of it when it has gone
            try:
                gone = erase_partition(row.agent, row.scope_id)
            except (StillWritten, DatabaseError) as error:
                self.audit(request, "erasing_failed", row, after={"problem": str(error)})
                if not isinstance(error, StillWritten):
                    raise
                self.message_user(request, str(error), messages.ERROR)
                continue
            self.log_deletions(request, chosen)
            text = f"{row}: {sum(gone.values()):,} rows of {len(gone)} tables erased."
            self.message_user(request, text, messages.SUCCESS)

    # ---- cells ------------------------------------------------------------------------

    @admin.display(description="Scope", ordering="scope_id")
    def name(self, row: Scope) -> str:
        return row.label or self.shown_id(row)

    @admin.display(description="Scope id")
    def shown_id(self, row: Scope) -> str:
        return row.scope_id or "(empty)"

    @admin.display(description="Sessions")
    def sessions(self, row: Any) -> str:
        return f"{row.sum_sessions:,} +" if row.sum_sessions >= MOST else f"{row.sum_sessions:,}"

    @admin.display(description="Tokens")
    def tokens(self, row: Any) -> str:
        return f"{row.sum_tokens:,}"

    @admin.display(description="Cost")
    def cost(self, row: Any) -> str:
        known = show_money(row.sum_micros)
        if not row.sum_unpriced:
            return known
        return f"unknown, {known} of it known" if row.sum_micros else "unknown"

    @admin.display(description="Cost over time")
    def over_time(self, row: Scope) -> SafeString:
        """The way to its page."""
        query = urlencode({"agent": row.agent, "scope": row.scope_id})
        page = reverse("admin:sessions_app_usageday_scope")
        return format_html('<a class="ag-link" href="{}?{}">by day and model</a>', page, query)

    @admin.display(description="Last activity")
    def activity(self, row: Any) -> str:
        return show_time(row.sum_activity)

    @admin.display(description="First seen")
    def created(self, row: Scope) -> str:
        return show_time(row.created_at)

    @admin.display(description="Last seen")
    def seen(self, row: Scope) -> str:
        return show_time(row.last_seen_at)

    @labelled("State", STATES)
    def state(self, row: Scope) -> str:
        return "served" if row.blocked_at is None else "blocked"

    @admin.display(description="Credentials")
    def credentials(self, row: Scope) -> str | SafeString:
        """Their names; values are never shown."""
        given = ScopeCredential.objects.for_scope(row.scope_id).filter(agent=row.agent)
        names = list(given.order_by("name").values_list("name", flat=True)[:200])
        return ", ".join(names) or "none"


def _is_known(scope_id: str) -> bool:
    return Scope._default_manager.filter(scope_id=scope_id).exists()


def add_up(rows: list[Any]) -> list[Any]:
    """Give each row its sums by day and its newest sessions; one query, by index alone."""
    with connection.cursor() as cursor:
        cursor.execute(SUMS, [MOST, [row.pk for row in rows]])
        sums = {key: values for key, *values in cursor.fetchall()}
    for row in rows:
        count, tokens, micros, unpriced, activity = sums.get(row.pk, (0, 0, 0, 0, None))
        row.sum_sessions, row.sum_tokens, row.sum_micros = count, int(tokens), int(micros)
        row.sum_unpriced, row.sum_activity = int(unpriced), activity or row.last_seen_at
    return rows
