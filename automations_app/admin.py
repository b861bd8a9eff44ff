"""Automations and all that came of them, to look at; staff change automations on their own pages.

Law: prompts, outputs and events are foreign text, shown as text. Raw bodies of webhooks and
secrets are not shown at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from agentsite.rows.filters import Times
from agentsite.rows.keyset import FEW, KeysetAdmin
from agentsite.rows.secrets import SecretLost
from automations_app.deliveries import TargetChanged
from automations_app.filters import (
    AnswerFilter,
    AutomationFilter,
    CauseFilter,
    DeliveryStatusFilter,
    KindFilter,
    OccurrenceStatusFilter,
    RunStatusFilter,
    TargetFilter,
)
from automations_app.inbound import BadEvent
from automations_app.models import (
    Automation,
    AutomationRun,
    Delivery,
    InboundDelivery,
    Occurrence,
)
from automations_app.staff import editing
from sessions_app.admin.base import (
    LookOnly,
    labelled,
    link,
    show_json,
    show_money,
    show_span,
    show_time,
)
from sessions_app.models import Run, Session

STATE = {"on": "success", "paused": "warning"}
ENDS = {
    "success": "success",
    "run": "success",
    "delivered": "success",
    "running": "info",
    "pending": "info",
    "queued": "warning",
    "waiting": "warning",
    "skipped": "warning",
    "missed": "danger",
    "failed": "danger",
    "dead": "danger",
}
SHOWN_CHARS = 200_000
MOST_ACTS = 200
"""Rows that one click acts on."""


def show_text(text: str) -> str:
    """A text as it is."""
    return format_html('<pre class="ag-pre">{}</pre>', text[:SHOWN_CHARS]) if text else "-"


@admin.register(Automation)
class AutomationAdmin(LookOnly):
    """A prompt, what sets it off, and how it has been doing."""

    list_display = ("name", "agent", "trigger", "schedule", "state", "failing")
    list_filter = ("trigger", "paused", "origin")
    search_fields = ("name", "title", "agent")
    ordering = ("agent", "name")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": (
            ("title", "name"), ("agent", "origin"), ("state", "pause_reason"),
            ("trigger", "schedule", "timezone"), "told",
        )}),
        ("How it runs", {"fields": (
            ("overlap", "catch_up"), ("write_enabled", "wait_for_person"), ("partition", "mode"),
            "retries", "changed",
        )}),
        ("What becomes of it", {"fields": (
            "failing", "succeeded", "targets", "alerts", "proof",
        )}),
    )  # fmt: skip
    readonly_fields = ("state", "told", "failing", "succeeded", "targets", "alerts", "proof")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Automation]:
        rows: QuerySet[Automation] = super().get_queryset(request)
        rows = rows.defer("webhook_secret", "target_secrets", "file_values")
        return rows.annotate(failures=Max("streaks__failures"))

    @labelled("State", STATE)
    def state(self, row: Automation) -> str:
        return "paused" if row.paused else "on"

    @admin.display(description="Prompt")
    def told(self, row: Automation) -> str:
        return show_text(row.prompt)

    @admin.display(description="Failures in a row")
    def failing(self, row: Any) -> str:
        """Of the partition in which it fails most."""
        return str(row.failures or "-")

    @admin.display(description="Last success")
    def succeeded(self, row: Automation) -> str:
        good = row.runs.filter(status=AutomationRun.Status.SUCCESS).order_by("-created_at", "-id")
        return show_time(good.values_list("ended_at", flat=True).first())

    @admin.display(description="Delivery")
    def targets(self, row: Automation) -> str:
        return show_json(row.delivery)

    @admin.display(description="Failure alert")
    def alerts(self, row: Automation) -> str:
        return show_json(row.failure_alert)

    @labelled("Senders", {"checked": "success", "anybody": "danger"})
    def proof(self, row: Automation) -> str:
        """Whether a webhook is believed without a signature."""
        if row.trigger != Automation.Trigger.WEBHOOK:
            return "-"
        return "checked" if row.webhook_auth else "anybody"


class OfAutomation(KeysetAdmin, LookOnly):
    """Rows of an automation, newest first, in such numbers that pages are turned by place."""

    list_select_related = ("automation",)
    word_reach = FEW
    found_by: ClassVar[tuple[str, ...]] = ()
    """Columns with an index, in which a whole id is looked for."""

    def search(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Rows with this id."""
        wanted = Q(pk=None)
        for name in self.found_by:
            wanted |= Q(**{name: term})
        return rows.filter(wanted)

    @admin.display(description="Automation")
    def of(self, row: Any) -> str:
        return link(Automation, row.automation_id, row.automation.name)

    @admin.display(description="Scope")
    def scope(self, row: Any) -> str:
        return row.scope_id or "(empty)"

    @labelled("Status", ENDS)
    def outcome(self, row: Any) -> str:
        return str(row.status)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who may change an automation may also let it happen again."""
        user: Any = request.user
        return bool(user.has_perm("automations_app.change_automation"))

    def act_on(
        self, request: HttpRequest, rows: QuerySet[Any], act: Callable[[Any, Any], object]
    ) -> None:
        """Do it with each of the rows, at most with `MOST_ACTS`, and tell what came of it."""
        done = 0
        for row in rows.select_related("automation")[:MOST_ACTS]:
            try:
                done += bool(act(row, request.user))
            except (BadEvent, SecretLost, TargetChanged) as problem:
                self.message_user(request, f"{row.pk}: {problem}", messages.ERROR)
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, f"{done} on their way; at most {MOST_ACTS} at a time.", level)


@admin.register(AutomationRun)
class AutomationRunAdmin(OfAutomation):
    """One run in one partition, with the conversation it was."""

    list_display = ("id", "of", "scope", "cause", "outcome", "cost", "took", "began")
    list_filter = (AutomationFilter, RunStatusFilter, CauseFilter, ("created_at", Times))
    keyset = "created_at"
    search_fields = found_by = ("id", "session_id", "run_id")
    search_help_text = "The whole id of a run or a session"
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": (
            ("of", "scope"), ("outcome", "cause", "tries"), ("conversation", "ordinary"),
            ("cost", "took"), ("began", "ended"), "requested_by", "error", "last_tool_call",
            "answer", "summed_up", "sent",
        )}),
        ("More", {"classes": ["collapse"], "fields": (
            ("occurrence", "inbound"), ("retry_of", "claimed_until"),
        )}),
    )  # fmt: skip
    readonly_fields = (
        "of", "scope", "outcome", "conversation", "ordinary", "cost", "took", "began", "ended",
        "answer", "summed_up", "sent",
    )  # fmt: skip

    @admin.display(description="Session")
    def conversation(self, row: AutomationRun) -> str:
        return link(Session, row.session_id) if row.session_id else "-"

    @admin.display(description="Run")
    def ordinary(self, row: AutomationRun) -> str:
        return link(Run, row.run_id) if row.run_id else "-"

    @admin.display(description="Cost")
    def cost(self, row: AutomationRun) -> str:
        return show_money(row.cost_micros) if row.ended_at else "-"

    @admin.display(description="Took")
    def took(self, row: AutomationRun) -> str:
        return show_span(row.started_at or row.created_at, row.ended_at)

    @admin.display(description="Began")
    def began(self, row: AutomationRun) -> str:
        return show_time(row.started_at or row.created_at)

    @admin.display(description="Ended")
    def ended(self, row: AutomationRun) -> str:
        return show_time(row.ended_at)

    @admin.display(description="Output")
    def answer(self, row: AutomationRun) -> str:
        return show_text(row.output)

    @admin.display(description="Summary")
    def summed_up(self, row: AutomationRun) -> str:
        return show_text(row.summary)

    @admin.display(description="Event")
    def sent(self, row: AutomationRun) -> str:
        return show_text(row.event or "")


@admin.register(Occurrence)
class OccurrenceAdmin(OfAutomation):
    """A due time, and what became of it."""

    list_display = ("due", "of", "outcome", "reason", "claimed_by")
    list_filter = (AutomationFilter, OccurrenceStatusFilter, ("due_at", Times))
    keyset = "due_at"
    ordering = ("-due_at", "-id")
    fields = (("of", "due"), "outcome", "reason", ("claimed_by", "claimed_at"))
    readonly_fields = ("of", "due", "outcome")

    @admin.display(description="Due at")
    def due(self, row: Occurrence) -> str:
        return show_time(row.due_at)


@admin.register(InboundDelivery)
class InboundDeliveryAdmin(OfAutomation):
    """A webhook that came in."""

    actions = ("run_again",)
    list_display = ("id", "of", "scope", "sender_id", "answer_status", "came")
    list_filter = (AutomationFilter, AnswerFilter, ("received_at", Times))
    keyset = "received_at"
    search_fields = found_by = ("sender_id",)
    search_help_text = "The sender's whole id"
    ordering = ("-received_at", "-id")
    fields = (
        ("of", "scope"), ("sender_id", "came"), "answer_status", "answered", "told", "replay_of"
    )  # fmt: skip
    readonly_fields = ("of", "scope", "came", "answered", "told")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundDelivery]:
        rows: QuerySet[InboundDelivery] = super().get_queryset(request)
        return rows.defer("body")

    @admin.action(description="Run again on their payloads", permissions=["operate"])
    def run_again(self, request: HttpRequest, rows: QuerySet[InboundDelivery]) -> None:
        """A host finds what is begun."""
        self.act_on(request, rows, editing.replay_inbound)

    @admin.display(description="Received")
    def came(self, row: InboundDelivery) -> str:
        return show_time(row.received_at)

    @admin.display(description="Answer")
    def answered(self, row: InboundDelivery) -> str:
        return show_json(row.answer)

    @admin.display(description="Headers")
    def told(self, row: InboundDelivery) -> str:
        return show_json(row.headers)


@admin.register(Delivery)
class DeliveryAdmin(OfAutomation):
    """A result or alert on its way, or given up."""

    actions = ("send_again",)
    list_display = ("id", "of", "kind", "target_type", "outcome", "attempts", "made")
    list_filter = (
        AutomationFilter, DeliveryStatusFilter, KindFilter, TargetFilter, ("created_at", Times)
    )  # fmt: skip
    keyset = "created_at"
    search_fields = found_by = ("id", "automation_run_id")
    search_help_text = "The whole id of a delivery or a run"
    ordering = ("-created_at", "-id")
    fields = (
        ("of", "automation_run"), ("kind", "target_type"), ("outcome", "attempts"),
        ("response_code", "problem"), ("made", "next_try_at", "ended_at"), "place", "sent",
    )  # fmt: skip
    readonly_fields = ("of", "outcome", "made", "place", "sent")

    @admin.action(description="Send dead letters again", permissions=["operate"])
    def send_again(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """A courier finds them."""
        self.act_on(request, rows.filter(status=Delivery.Status.DEAD), editing.send_again)

    @admin.display(description="Made")
    def made(self, row: Delivery) -> str:
        return show_time(row.created_at)

    @admin.display(description="Target")
    def place(self, row: Delivery) -> str:
        return show_json(row.target)

    @admin.display(description="Payload")
    def sent(self, row: Delivery) -> str:
        return show_json(row.payload)
