"""Sessions: the list, and one conversation as it was held."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from agentsite.rows.auditing import record
from agentsite.rows.filters import ScopeFilter, Times
from agentsite.rows.keyset import FEW, INDEXED, WALK
from sessions_app.admin.base import (
    AgentFilter,
    BigTable,
    labelled,
    show_cost,
    show_json,
    show_time,
    show_tokens,
    to_text,
)
from sessions_app.admin.filters import (
    AutomationFilter,
    CostFilter,
    SpokenFilter,
    by_words,
)
from sessions_app.admin.tables import table_of_model_calls, table_of_runs
from sessions_app.expiry import delete_session
from sessions_app.exporting import export_session
from sessions_app.models import Session
from sessions_app.projection import project
from sessions_app.reading import is_scope
from sessions_app.searching import find_titled

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
class SessionAdmin(BigTable):
    """What was said, what ran, what it cost."""

    list_display = (
        "name", "agent", "scope", "state", "messages", "tokens", "cost", "updated"
    )  # fmt: skip
    list_filter = (
        ScopeFilter, ("updated_at", Times), SpokenFilter, "status", AgentFilter, AutomationFilter,
        CostFilter,
    )  # fmt: skip
    keyset = "updated_at"
    search_fields = ("id", "scope_id", "title")
    search_help_text = "An id, a scope, words of a title or said"
    ordering = ("-updated_at", "-id")
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

    ids: ClassVar[dict[str, str]] = {"sess_": "pk", "run_": "runs"}

    def search(self, request: HttpRequest, rows: QuerySet[Session], term: str) -> QuerySet[Session]:
        """Scopes whole, by their index; else parts of titles and what was said."""
        if is_scope(term):
            return rows.filter(scope_id=term)
        said = by_words(request, rows, term, None)
        return said | rows.filter(pk__in=find_titled(term, WALK))

    def reach_of_words(self, term: str) -> str:
        """A scope has an index; words are few sessions."""
        return INDEXED if is_scope(term) else FEW

    def describe(self, row: Session, request: HttpRequest) -> dict[str, Any]:
        """The transcript, runs and model calls."""
        return _describe(row, request)

    def get_urls(self) -> list[Any]:
        """The export, before Django's own that would swallow it."""
        view = self.admin_site.admin_view(self.export_view)
        name = "sessions_app_session_export"
        return [path("<path:object_id>/export/", view, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The session as a file."""
        # Runs are in it, with what models were sent.
        if not request.user.has_perms(("sessions_app.view_session", "sessions_app.view_run")):
            raise PermissionDenied
        session = self.get_object(request, unquote(object_id).replace("\x00", ""))
        if session is None:
            raise Http404("There is no such session.")
        record(request.user.get_username(), "session.export", session.pk)
        response = JsonResponse(export_session(session), json_dumps_params={"indent": 2})
        response["Content-Disposition"] = f'attachment; filename="{session.pk}.json"'
        return response

    # ---- deleting ---------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """For those who may delete sessions; one at a time, after a page that asks."""
        allowed: bool = request.user.has_perm("sessions_app.delete_session")
        return allowed

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What the page that asks says goes: counted by nobody, as it may be very much."""
        names = [
            f"{each}, with its messages, runs, calls and events. What it has cost stays counted."
            for each in objs
        ]
        return names, {}, set(), []

    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        """Delete it and all that hangs on it; a live run is lost with it."""
        with transaction.atomic():
            delete_session(obj.pk, obj.scope_id, even_if_live=True)
            before = {"status": obj.status, "scope": obj.scope_id, "messages": obj.message_count}
            record(request.user.get_username(), "session.delete", obj.pk, {"before": before})

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
    calls = [
        {**call, "shown_arguments": to_text(call["args"])} for call in message.get("toolCalls", ())
    ]
    widgets = [{**widget, "text": to_text(widget["data"])} for widget in message.get("widgets", ())]
    return {**message, "toolCalls": calls, "shown_widgets": widgets}
