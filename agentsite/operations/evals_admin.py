"""Operators see what evals came to: by eval and model, in detail, over time; they may stop one.

Law: answers and reasons were written by models: they are shown as text. A new eval run is asked
for on a page of `agentsite.evals`, which knows the agents' files.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern

from agentsite.operations import eval_rows
from agentsite.operations.eval_pages import describe_result, describe_run, dollars, milliseconds
from agentsite.operations.models import EvalResult, EvalRun
from agentsite.rows.audited import Audited
from agentsite.rows.filters import NameFilter
from agentsite.rows.keyset import KeysetAdmin

RUN_COLOURS = {
    "passed": "success",
    "failed": "danger",
    "stopped": "warning",
    "broken off": "danger",
    "running": "info",
    "queued": "info",
}
RESULT_COLOURS = {
    "passed": "success",
    "failed": "danger",
    "error": "danger",
    "not run": "warning",
    "running": "info",
    "waits": "info",
}


class Looked(Audited, KeysetAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows that nobody edits; a page of each is a template of its own."""

    page_template = ""
    keyset = "created_at"
    ordering = ("-created_at", "-id")

    class Media:
        css = {"all": ("sessions_app/admin.css",)}
        js = ("sessions_app/admin_live.js",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def describe(self, row: Any) -> dict[str, Any]:
        """What the template needs besides the row."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one row."""
        row = self.find(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": str(row),
            "opts": self.opts,
            "row": row,
            "may_act": request.user.has_perm("operations.change_evalrun"),
            "may_delete": self.has_delete_permission(request, row),
            **self.describe(row),
        }
        return TemplateResponse(request, self.page_template, context)

    def find(self, request: HttpRequest, object_id: str) -> Any:
        """A row by its quoted key, for who may see it. Raises `Http404`, `PermissionDenied`."""
        row = self.get_object(request, unquote(object_id).replace("\x00", ""))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404("There is no such row.")
        return row


class StatusFilter(admin.SimpleListFilter):
    """How they stand."""

    title, parameter_name = "status", "status__exact"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Those of the table."""
        return list(model_admin.model.Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows that stand so."""
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(EvalRun)
class EvalRunAdmin(Looked):
    """Some evals of an agent on some models."""

    page_template = "admin/operations/evalrun.html"
    list_display = ("began", "agent", "outcome", "score", "on", "cost", "asked_by")
    list_filter = (StatusFilter, NameFilter)

    def get_urls(self) -> list[URLPattern]:
        """The way to stop one, before the admin's own."""
        stop = self.admin_site.admin_view(self.stop_view)
        name = "operations_evalrun_stop"
        return [path("<path:object_id>/stop/", stop, name=name), *super().get_urls()]

    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let nothing more of it begin."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("operations.change_evalrun"):
            raise PermissionDenied
        row = self.find(request, object_id)
        with transaction.atomic():
            asked = eval_rows.request_stop(row.pk)
            if asked:
                self.audit(request, "stopped", row, {"status": row.status}, {"stop": "asked"})
        told = "Nothing more of it is begun." if asked else "It has ended already."
        self.message_user(request, told, messages.SUCCESS if asked else messages.WARNING)
        return HttpResponseRedirect(
            reverse("admin:operations_evalrun_change", args=[quote(row.pk)])
        )

    def describe(self, row: EvalRun) -> dict[str, Any]:
        """The matrix of evals and models."""
        return describe_run(row)

    @admin.display(description="Began")
    def began(self, row: EvalRun) -> str:
        return f"{row.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Outcome")
    def outcome(self, row: EvalRun) -> str:
        if row.status == EvalRun.Status.DONE:
            return "failed" if row.failed or row.errors else "passed"
        return row.get_status_display()

    outcome.label = RUN_COLOURS  # type: ignore[attr-defined]  # unfold reads it

    @admin.display(description="Passed")
    def score(self, row: EvalRun) -> str:
        return f"{row.passed} of {len(row.evals) * len(row.model_names) * row.repeats}"

    @admin.display(description="Models")
    def on(self, row: EvalRun) -> str:
        return ", ".join(row.model_names)

    @admin.display(description="Cost")
    def cost(self, row: EvalRun) -> str:
        return dollars(row.cost_micros if row.cost_known else None)

    @admin.display(description="Asked for by")
    def asked_by(self, row: EvalRun) -> str:
        return row.requested_by or "-"


@admin.register(EvalResult)
class EvalResultAdmin(Looked):
    """What one eval came to on one model; filtered by name, its history."""

    page_template = "admin/operations/evalresult.html"
    list_display = ("began", "name", "model", "mark", "latency", "cost", "turns", "agent")
    list_display_links = ("began", "name")
    list_filter = (StatusFilter, NameFilter)
    list_select_related = ("eval_run",)
    search_fields = ("name", "model", "run_id")
    search_help_text = "The whole name of an eval, provider/model, or the id of a run"

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def search(
        self, request: HttpRequest, rows: QuerySet[EvalResult], term: str
    ) -> QuerySet[EvalResult]:
        """Whole words."""
        return rows.filter(Q(name=term) | Q(model=term) | Q(run_id=term))

    def describe(self, row: EvalResult) -> dict[str, Any]:
        """Assertions, answer and calls."""
        return describe_result(row)

    @admin.display(description="Began")
    def began(self, row: EvalResult) -> str:
        return f"{row.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Outcome")
    def mark(self, row: EvalResult) -> str:
        return row.get_status_display()

    mark.label = RESULT_COLOURS  # type: ignore[attr-defined]  # unfold reads it

    @admin.display(description="Took")
    def latency(self, row: EvalResult) -> str:
        return milliseconds(row.duration_ms)

    @admin.display(description="Cost")
    def cost(self, row: EvalResult) -> str:
        return dollars(row.cost_micros) if row.run_id and row.ended_at else "-"
