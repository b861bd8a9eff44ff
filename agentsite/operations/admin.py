"""Operators see MCP servers and decide about tools that changed.

Law: descriptions and schemas come from strangers: they are shown as text.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from django.contrib import admin, messages
from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.paginator import (  # type: ignore[import-untyped]  # it has no types
    InfinitePaginator,
)

from agentsite.operations import (
    evals_admin as evals_admin,
    feedback_admin as feedback_admin,
    money_admin as money_admin,
    proposals,
)
from agentsite.operations.models import AuditEntry, McpServer, PinnedTool, Proposal
from agentsite.operations.pins import decide
from agentsite.rows.audited import Audited
from agentsite.rows.filters import NameFilter
from agentsite.rows.keyset import INDEXED, KeysetAdmin

NAMES = {"-": "text-red-700", "+": "text-green-700", "@": "text-gray-500"}


class Seen(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows that the server makes: nobody adds or edits them. Deleting one forgets it."""

    show_full_result_count = False
    paginator = InfinitePaginator
    sortable_by = ()

    class Media:
        css = {"all": ("sessions_app/admin.css",)}

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ActionFilter(admin.SimpleListFilter):
    """What was done, without reading the whole log for the words."""

    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The actions, one index probe each."""
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH RECURSIVE known AS ("
                " (SELECT action FROM operations_auditentry ORDER BY action LIMIT 1) UNION ALL"
                " SELECT (SELECT action FROM operations_auditentry e WHERE e.action > known.action"
                "  ORDER BY action LIMIT 1) FROM known WHERE known.action IS NOT NULL)"
                " SELECT action FROM known WHERE action IS NOT NULL LIMIT 200"
            )
            return [(str(row[0]), str(row[0])) for row in cursor.fetchall()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        """Entries of the chosen one."""
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(KeysetAdmin, Seen):
    """Who decided what; `manage.py verifyaudit` proves that nothing was changed."""

    list_display = ("number", "at", "actor", "action", "subject")
    list_filter = (ActionFilter,)
    keyset = ""
    word_reach = INDEXED
    search_fields = ("actor", "subject", "action")
    search_help_text = "A whole name of somebody, a whole id, or an action"
    ordering = ("-number",)

    def search(
        self, request: HttpRequest, rows: QuerySet[AuditEntry], term: str
    ) -> QuerySet[AuditEntry]:
        """Whole words, each by its index: the log only ever grows."""
        return rows.filter(**{_field_of(term): term})

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _field_of(term: str) -> str:
    """What such a word is in the log: an action, somebody's name, or else a subject."""
    for name in ("action", "actor"):
        if AuditEntry.objects.filter(**{name: term}).exists():
            return name
    return "subject"


@admin.register(McpServer)
class McpServerAdmin(Seen):
    """MCP servers, how they were last met, and their tools."""

    list_display = ("name", "agent", "software", "protocol", "listed_at", "waiting", "problem")
    list_filter = ("agent",)
    search_fields = ("name", "agent")
    ordering = ("agent", "name")
    readonly_fields = (
        "name", "agent", "software", "protocol", "listed_at", "problem", "problem_at", "pinned",
    )  # fmt: skip
    fields = readonly_fields

    @admin.display(description="Waiting for you")
    def waiting(self, row: McpServer) -> str:
        count = row.tools.filter(status=PinnedTool.Status.WAITING, listed=True).count()
        return f"{count} changed" if count else ""

    @admin.display(description="Tools")
    def pinned(self, row: McpServer) -> str:
        """Every version, with the way to its page."""
        versions = row.tools.order_by("tool", "-first", "pk")
        lines = (
            (_page(version), version.tool, version.get_status_display(), _listed(version))
            for version in versions
        )
        return format_html(
            "<ul>{}</ul>",
            format_html_join("", '<li><a href="{}">{}</a>: {}{}</li>', lines),
        )


class VersionStatus(admin.ChoicesFieldListFilter):
    """What was decided about versions."""

    residual = True


class VersionListed(admin.BooleanFieldListFilter):
    """Whether the newest listing had them."""

    residual = True


class VersionServer(admin.RelatedFieldListFilter):
    """Whose they are."""

    residual = True


@admin.register(PinnedTool)
class PinnedToolAdmin(KeysetAdmin, Seen):
    """Versions of tools; a changed one is not offered to a model before it is accepted."""

    list_display = ("tool", "server", "status", "listed", "first", "seen_at", "decided_by")
    list_filter = (("status", VersionStatus), ("listed", VersionListed), ("server", VersionServer))
    list_select_related = ("server",)
    keyset = "seen_at"
    search_fields = ("tool", "server__name")
    search_help_text = "A part of a tool's or a server's name"
    ordering = ("-seen_at", "-pk")
    actions = ("accept", "refuse")
    readonly_fields = (
        "tool", "server", "status", "listed", "first", "seen_at", "decided_at", "decided_by",
        "difference", "accepted_text", "text",
    )  # fmt: skip
    fields = readonly_fields

    def search(
        self, request: HttpRequest, rows: QuerySet[PinnedTool], term: str
    ) -> QuerySet[PinnedTool]:
        """By a part."""
        return rows.filter(Q(tool__icontains=term) | Q(server__name__icontains=term))

    @admin.action(description="Accept: models may be told of these versions", permissions=["judge"])
    def accept(self, request: HttpRequest, versions: QuerySet[PinnedTool]) -> None:
        self._decide(request, versions, PinnedTool.Status.ACCEPTED)

    @admin.action(description="Refuse: these versions are not used", permissions=["judge"])
    def refuse(self, request: HttpRequest, versions: QuerySet[PinnedTool]) -> None:
        self._decide(request, versions, PinnedTool.Status.REFUSED)

    def has_judge_permission(self, request: HttpRequest) -> bool:
        """Who may change rows of this table may decide about them."""
        return bool(admin.ModelAdmin.has_change_permission(self, request))

    def _decide(self, request: HttpRequest, versions: QuerySet[PinnedTool], status: str) -> None:
        count = decide(versions, status, request.user.get_username())
        self.message_user(request, f"{count} changed. Runs that start from now on see it.")

    @admin.display(description="What changed")
    def difference(self, row: PinnedTool) -> str:
        """This version against the accepted one, line by line."""
        other = _accepted(row)
        if other is None:
            return "nothing to compare with"
        lines = difflib.unified_diff(
            show_version(other).splitlines(),
            show_version(row).splitlines(),
            "accepted", "this version", lineterm="",
        )  # fmt: skip
        shown = ((NAMES.get(line[:1], ""), line) for line in lines)
        body = format_html_join("\n", '<span class="{}">{}</span>', shown)
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', body)

    @admin.display(description="The accepted version")
    def accepted_text(self, row: PinnedTool) -> str:
        other = _accepted(row)
        return _show(show_version(other)) if other else "none besides this one"

    @admin.display(description="This version")
    def text(self, row: PinnedTool) -> str:
        return _show(show_version(row))


@admin.register(Proposal)
class ProposalAdmin(KeysetAdmin, Seen):
    """What agents would like to know from now on."""

    list_display = ("title", "agent", "scope_id", "status", "created_at", "decided_by", "file")
    list_filter = ("status", NameFilter)
    keyset = "created_at"
    search_fields = ("title", "content")
    search_help_text = "A part of a title or of the text"
    ordering = ("-created_at", "-pk")
    actions = ("accept", "refuse")
    readonly_fields = (
        "title", "agent", "scope_id", "session_id", "status", "created_at", "decided_at",
        "decided_by", "file", "reasoning", "document",
    )  # fmt: skip
    fields = readonly_fields

    def search(
        self, request: HttpRequest, rows: QuerySet[Proposal], term: str
    ) -> QuerySet[Proposal]:
        """By a part."""
        return rows.filter(Q(title__icontains=term) | Q(content__icontains=term))

    @admin.display(description="The file it would become")
    def document(self, row: Proposal) -> str:
        text = proposals.compose(row.title, row.content)
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', text)

    @admin.action(description="Accept: write them into the knowledge base", permissions=["judge"])
    def accept(self, request: HttpRequest, rows: QuerySet[Proposal]) -> None:
        for row in rows:
            try:
                file = proposals.accept(row, request.user.get_username())
            except proposals.CannotAccept as error:
                text = f"{row.title} was not accepted: {error}"
                self.message_user(request, text, messages.ERROR)
            else:
                self.message_user(request, f"{row.title} is {file} now. New runs know it.")

    @admin.action(description="Refuse: they stay out", permissions=["judge"])
    def refuse(self, request: HttpRequest, rows: QuerySet[Proposal]) -> None:
        refused = [row for row in rows if proposals.refuse(row, request.user.get_username())]
        self.message_user(
            request, f"{len(refused)} refused. The agents are told if they try again."
        )

    def has_judge_permission(self, request: HttpRequest) -> bool:
        """Who may change rows of this table may decide about them."""
        return bool(admin.ModelAdmin.has_change_permission(self, request))


def show_version(row: PinnedTool) -> str:
    """All that is pinned of a version, as text."""
    parts: dict[str, Any] = {
        "schema": json.loads(row.parameters),
        "annotations": json.loads(row.annotations),
    }
    shown = (f"{k}: {json.dumps(v, indent=2, ensure_ascii=False)}" for k, v in parts.items())
    return "\n\n".join((row.description or "(no description)", *shown))


def _accepted(row: PinnedTool) -> PinnedTool | None:
    """The version that was accepted last before this one, of the same tool."""
    others = PinnedTool.objects.filter(
        server_id=row.server_id, tool=row.tool, status=PinnedTool.Status.ACCEPTED
    )
    return others.exclude(pk=row.pk).order_by("-listed", "-pk").first()


def _show(text: str) -> str:
    return format_html('<pre style="white-space: pre-wrap">{}</pre>', text)


def _page(row: PinnedTool) -> str:
    return reverse("admin:operations_pinnedtool_change", args=[row.pk])


def _listed(row: PinnedTool) -> str:
    return "" if row.listed else ", no longer listed"
