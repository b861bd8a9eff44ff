"""Rows of the operators: MCP servers and every version of their tools; the audit log.

Law: proposals, feedback and scopes' money (`money.py`) belong to tenants, nothing else does. A
version of a tool is a row; what a model is told of a tool stands on an accepted row, as it was.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agentsite.operations.evals import EvalResult as EvalResult, EvalRun as EvalRun
from agentsite.operations.money import (
    Alert as Alert,
    Budget as Budget,
    PriceOverride as PriceOverride,
    Reservation as Reservation,
)


class McpServer(models.Model):
    """An MCP server of one agent, as it was last met."""

    agent = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    protocol = models.CharField(max_length=40, default="", blank=True)
    """Version of the protocol that was agreed on."""
    software = models.CharField(max_length=300, default="", blank=True)
    """What the server calls itself."""
    listed_at = models.DateTimeField(null=True, blank=True)
    """When its tools were last listed."""
    problem = models.TextField(default="", blank=True)
    """Why it could not be reached the last time; empty when it was."""
    problem_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "MCP server"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["agent", "name"], name="mcp_server_once"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} / {self.name}"


class PinnedTool(models.Model):
    """One version of one tool of an MCP server: the first is accepted, a change waits."""

    class Status(models.TextChoices):
        ACCEPTED = "accepted", "accepted"
        WAITING = "waiting", "waits for an operator"
        REFUSED = "refused", "refused"

    server = models.ForeignKey(McpServer, models.CASCADE, related_name="tools")
    tool = models.CharField(max_length=500)
    digest = models.CharField(max_length=64)
    """SHA-256 over description, schema and annotations."""
    description = models.TextField(default="", blank=True)
    parameters = models.TextField(default="{}")
    """The tool's JSON schema as text: key order is kept."""
    annotations = models.TextField(default="{}")
    """What the server says of the tool's effects, as JSON."""
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    first = models.BooleanField(default=False)
    """The version that was there when the tool was met."""
    listed = models.BooleanField(default=True)
    """The newest listing had this version."""
    seen_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        verbose_name = "MCP tool"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["server", "tool", "digest"], name="tool_version_once"),
            models.UniqueConstraint(
                fields=["server", "tool"], condition=Q(first=True), name="tool_first_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["-seen_at", "-id"], name="tool_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.tool} ({self.get_status_display()})"


class AuditEntry(models.Model):
    """One decision, in a chain: see `audit.py`. The database refuses changes."""

    number = models.BigIntegerField(primary_key=True)
    """From 1 on, without gaps."""
    at = models.DateTimeField()
    """To the millisecond, in UTC."""
    actor = models.TextField()
    action = models.TextField()
    subject = models.TextField()
    details = models.TextField(default="{}")
    """JSON as text: its bytes are what was hashed."""
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["actor", "-number"], name="audit_by_actor"),
            models.Index(fields=["action", "-number"], name="audit_by_action"),
            models.Index(fields=["subject", "-number"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.action}"


class Proposal(models.Model):
    """A document that an agent would like to have in its knowledge base."""

    class Status(models.TextChoices):
        WAITING = "waiting", "waits for an operator"
        ACCEPTED = "accepted", "accepted"
        REFUSED = "refused", "refused"

    id = models.CharField(primary_key=True, max_length=80)
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    """Of the conversation that it comes from."""
    session_id = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    reasoning = models.TextField()
    content = models.TextField()
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    file = models.CharField(max_length=200, default="", blank=True)
    """What was written when it was accepted, inside the agent's folder."""
    comment = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["-created_at", "-id"], name="proposal_recent"),
            models.Index(fields=["status", "-created_at", "-id"], name="proposal_by_status"),
        ]

    def __str__(self) -> str:
        return self.title


class Feedback(models.Model):
    """A thumb under one answer of a session."""

    class Rating(models.TextChoices):
        UP = "up", "good"
        DOWN = "down", "bad"

    stays_when_expired = True
    """It waits for a review, which may come long after the conversation has gone."""

    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    session = models.ForeignKey("sessions_app.Session", models.CASCADE, related_name="feedback")
    run_id = models.CharField(max_length=64)
    message_id = models.CharField(max_length=80)
    rating = models.CharField(max_length=4, choices=Rating)
    comment = models.TextField(default="", blank=True)
    query = models.TextField(default="", blank=True)
    """The user's message that was answered."""
    response = models.TextField(default="", blank=True)
    """The answer, its first 2,000 characters."""
    tool_calls: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Names of the tools that the run called, in order."""
    model = models.CharField(max_length=250, default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        verbose_name_plural = "feedback"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["session", "message_id"], name="feedback_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(F("created_at").desc(), F("id").desc(), name="feedback_recent"),
            models.Index(
                F("created_at").desc(),
                condition=Q(rating="down", reviewed_at=None),
                name="feedback_to_review",
            ),
            models.Index(
                F("scope_id"), F("created_at").desc(), F("id").desc(), name="feedback_of_scope"
            ),
            models.Index(fields=["run_id"], name="feedback_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.get_rating_display()}: {self.message_id}"
