"""Rows of calls: of tools, with their sub-agents and late results, and of models.

Law: what the package's `models` says of rows holds here. A tool's call has one result, written
once; a model's call is the metering row, which outlives its session.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agentsite.rows.fields import VerbatimJSONField
from sessions_app.metered import Metered
from sessions_app.querysets import ModelCallQuerySet


class ToolCall(models.Model):
    """One call and its one result; the journal of side effects."""

    class Status(models.TextChoices):
        HELD = "held"
        RUNNING = "running"
        OK = "ok"
        ERROR = "error"
        DENIED = "denied"
        INTERRUPTED = "interrupted"
        EXPIRED = "expired"

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey("Session", models.CASCADE, related_name="tool_calls")
    run = models.ForeignKey("Run", models.CASCADE, related_name="tool_calls")
    attempt = models.IntegerField()
    message = models.ForeignKey("Message", models.CASCADE, null=True, related_name="calls")
    """The message that asks for it; null when a sub-agent does."""
    subagent = models.ForeignKey("Subagent", models.CASCADE, null=True, related_name="calls")
    scope_id = models.CharField(max_length=200, default="", blank=True)
    position = models.IntegerField()
    """Place among the calls of its message, or of its sub-agent."""
    name = models.CharField(max_length=200)
    arguments = VerbatimJSONField(default=dict)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.HELD)
    result = VerbatimJSONField(null=True, blank=True)
    """Parts of the whole result (`TextPart`, `ImagePart`)."""
    widgets = VerbatimJSONField(default=list, blank=True)
    """Widgets shown by the call: `[{seq, widgetType, data}]`."""
    running_label = models.CharField(max_length=300, default="", blank=True)
    completed_label = models.CharField(max_length=300, default="", blank=True)
    internal = models.BooleanField(default=False)
    stops = models.BooleanField(default=False)
    """With its result it wished for the end of the run."""
    outcome_unknown = models.BooleanField(db_default=False)
    """Its process was lost while it was under way: nobody knows whether it took effect."""
    duration_ms = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    """The intent: set before the call is made."""
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index("run", "status", name="call_of_run"),
            models.Index("run", condition=Q(outcome_unknown=True), name="call_unknown"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class Subagent(models.Model):
    """A sub-agent: where its own loop stands, and its own history. Its calls are `ToolCall`s."""

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey("Session", models.CASCADE, related_name="subagents")
    run = models.ForeignKey("Run", models.CASCADE, related_name="subagents")
    call = models.OneToOneField(ToolCall, models.CASCADE, related_name="dispatched")
    """The call that dispatched it; its result is the sub-agent's last word."""
    attempt = models.IntegerField()
    scope_id = models.CharField(max_length=200, default="", blank=True)
    name = models.CharField(max_length=200)
    assignment = VerbatimJSONField(default=dict)
    """What it may do and how far (`host.assignments.Assignment`)."""
    state = models.JSONField(default=dict, blank=True)
    """`engine.steps.RunState`."""
    messages = VerbatimJSONField(default=list)
    """What was said (`[position, engine.messages.Message]`), without results of its calls."""
    seconds_used = models.FloatField(default=0)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class LateResult(models.Model):
    """What a call came to after it had been given up: told with the session's next message."""

    call = models.OneToOneField(ToolCall, models.CASCADE, primary_key=True, related_name="late")
    session = models.ForeignKey("Session", models.CASCADE, related_name="late_results")
    scope_id = models.CharField(max_length=200, default="", blank=True)
    status = models.CharField(max_length=12)
    text = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    told_by = models.ForeignKey("Run", models.CASCADE, null=True, related_name="+")
    """The run whose message carried it; a result is told once."""

    def __str__(self) -> str:
        return f"late result of {self.call_id}"


class ModelCall(Metered):
    """One request to a provider: the metering row. It outlives its session."""

    id = models.BigAutoField(primary_key=True)
    session_id = models.CharField(max_length=64, db_index=True)
    run_id = models.CharField(max_length=64, db_index=True)
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    purpose = models.CharField(max_length=12)
    attempt = models.IntegerField(default=1)
    turn = models.IntegerField(default=0)
    provider = models.CharField(max_length=50)
    model = models.CharField(max_length=200)
    price = models.JSONField(null=True, blank=True)
    """Snapshot of the prices used; null when unknown."""
    cost_micros = models.BigIntegerField(null=True, blank=True)
    """Micro-dollars; null when the price is unknown."""
    charge_micros = models.BigIntegerField(db_default=0)
    """What budgets count: the cost, or a pessimistic one where the price is unknown."""
    key_id = models.BigIntegerField(null=True, blank=True)
    """Of the API key that the run was asked for with."""
    first_token_ms = models.IntegerField(null=True, blank=True)
    total_ms = models.IntegerField(null=True, blank=True)
    error = models.CharField(max_length=20, default="", blank=True)
    """Kind of the failure, when the call failed."""
    prompt_id = models.CharField(max_length=64, default="", blank=True)
    """The request as it was sent; it goes with its session."""
    created_at = models.DateTimeField(db_default=Now())

    objects = ModelCallQuerySet.as_manager()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(F("created_at").desc(), F("id").desc(), name="modelcall_recent"),
            models.Index("agent", "scope_id", "created_at", name="modelcall_partition"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} {self.id}"
