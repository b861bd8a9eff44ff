"""The queue of thumbs: what people said of answers, and the way to the run behind each."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.paginator import (  # type: ignore[import-untyped]  # it has no types
    InfinitePaginator,
)

from agentsite.operations.feedback import review
from agentsite.operations.models import Feedback
from agentsite.rows.audited import Audited

COMMENT_CHARS = 120


class Reviewed(admin.SimpleListFilter):
    """Those that nobody has looked at yet, or has."""

    title = "reviewed"
    parameter_name = "reviewed"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("no", "not yet"), ("yes", "reviewed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> QuerySet[Feedback]:
        """Rows of the chosen kind."""
        if self.value() is None:
            return queryset
        return queryset.filter(reviewed_at__isnull=self.value() == "no")


@admin.register(Feedback)
class FeedbackAdmin(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Nobody writes here but callers; operators review."""

    list_display = ("created_at", "thumb", "agent", "scope", "said", "reviewed_by")
    list_filter = ("rating", Reviewed, "created_at")
    search_fields = ("session__id__exact", "run_id__exact", "scope_id__exact")
    search_help_text = "The whole id of a session, a run or a scope"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    show_full_result_count = False
    paginator = InfinitePaginator
    actions = ("mark_reviewed",)
    readonly_fields = (
        "thumb", "agent", "scope", "created_at", "comment", "asked", "answered", "tool_calls",
        "model", "behind", "reviewed_at", "reviewed_by",
    )  # fmt: skip
    fields = readonly_fields

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Who may change rows of this table may say that they are reviewed."""
        return bool(admin.ModelAdmin.has_change_permission(self, request))

    @admin.action(description="Mark as reviewed", permissions=["review"])
    def mark_reviewed(self, request: HttpRequest, rows: QuerySet[Feedback]) -> None:
        count = review(rows, request.user.get_username())
        self.message_user(request, f"{count} marked as reviewed.")

    @admin.display(description="Thumb")
    def thumb(self, row: Feedback) -> str:
        return "👍 good" if row.rating == Feedback.Rating.UP else "👎 bad"

    @admin.display(description="Scope")
    def scope(self, row: Feedback) -> str:
        return row.scope_id or "(empty)"

    @admin.display(description="Said")
    def said(self, row: Feedback) -> str:
        text = row.comment or row.query
        return text if len(text) <= COMMENT_CHARS else text[:COMMENT_CHARS] + "…"

    @admin.display(description="Question")
    def asked(self, row: Feedback) -> str:
        return _show(row.query)

    @admin.display(description="Answer")
    def answered(self, row: Feedback) -> str:
        return _show(row.response)

    @admin.display(description="Run")
    def behind(self, row: Feedback) -> str:
        """The way to what happened."""
        url = reverse("admin:sessions_app_run_change", args=[quote(row.run_id)])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', url, row.run_id)


def _show(text: str) -> str:
    return format_html('<pre style="white-space: pre-wrap">{}</pre>', text) if text else "-"
