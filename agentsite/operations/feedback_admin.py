"""The queue of thumbs: what people said of answers, and the way to the run behind each."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html

from agentsite.operations.feedback import review
from agentsite.operations.models import Feedback
from agentsite.rows.audited import Audited
from agentsite.rows.filters import ScopeFilter, Times
from agentsite.rows.keyset import INDEXED, RESIDUAL, TIME, KeysetAdmin

COMMENT_CHARS = 120


class Reviewed(admin.SimpleListFilter):
    """Those that nobody has looked at yet, or has."""

    title = "reviewed"
    parameter_name = "reviewed"

    def __init__(self, request: HttpRequest, *given: Any) -> None:
        super().__init__(request, *given)
        self._asked = request.GET

    @property
    def reach(self) -> str:
        """Bad ones that nobody has looked at have an index together."""
        return TIME if is_queue(self._asked) else RESIDUAL

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("no", "not yet"), ("yes", "reviewed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> QuerySet[Feedback]:
        """Rows of the chosen kind."""
        if self.value() is None:
            return queryset
        return queryset.filter(reviewed_at__isnull=self.value() == "no")


class RatingFilter(Reviewed):
    """Good or bad."""

    title = parameter_name = "rating"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return list(Feedback.Rating.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> QuerySet[Feedback]:
        """Rows of the chosen kind."""
        return queryset.filter(rating=self.value()) if self.value() else queryset


def is_queue(asked: QueryDict) -> bool:
    """Whether the list is of what there is to review, and of all scopes."""
    return (asked.get("rating"), asked.get("reviewed")) == ("down", "no") and not asked.get("scope")


@admin.register(Feedback)
class FeedbackAdmin(Audited, KeysetAdmin):  # type: ignore[misc]  # unfold has no types
    """Nobody writes here but callers; operators review."""

    list_display = ("created_at", "thumb", "agent", "scope", "said", "reviewed_by")
    list_filter = (ScopeFilter, RatingFilter, Reviewed, ("created_at", Times))
    keyset = "created_at"
    ids: ClassVar[dict[str, str]] = {"sess_": "session_id", "run_": "run_id"}
    word_reach = INDEXED
    search_fields = ("run_id",)
    search_help_text = "The whole id of a session, a run or a scope"
    ordering = ("-created_at", "-id")
    actions = ("mark_reviewed",)
    readonly_fields = (
        "thumb", "agent", "scope", "created_at", "comment", "asked", "answered", "tool_calls",
        "model", "behind", "reviewed_at", "reviewed_by",
    )  # fmt: skip
    fields = readonly_fields

    class Media:
        css = {"all": ("sessions_app/admin.css",)}

    def search(
        self, request: HttpRequest, rows: QuerySet[Feedback], term: str
    ) -> QuerySet[Feedback]:
        """Of one scope."""
        return rows.filter(scope_id=term)

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
