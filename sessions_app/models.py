"""A conversation as rows: session, run, message, tool call, model call, log.

Law: rows of a run are written by the holder of its lease only. Triggers
(migration 0002) refuse an append whose attempt is not the run's, and the end of a
run while a call of it has no result. `scope_id` stands on every tenant row.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agentsite.rows.fields import VerbatimJSONField
from sessions_app.api_keys import ApiKey as ApiKey
from sessions_app.calls import (
    LateResult as LateResult,
    ModelCall as ModelCall,
    Subagent as Subagent,
    ToolCall as ToolCall,
)
from sessions_app.metered import Metered
from sessions_app.prompts import Prompt as Prompt, PromptPiece as PromptPiece
from sessions_app.querysets import (
    EventBatchQuerySet,
    MessageQuerySet,
    RunQuerySet,
    SessionQuerySet,
)
from sessions_app.scopes import Scope as Scope, ScopeCredential as ScopeCredential
from sessions_app.usage import AgentDay as AgentDay, KeyDay as KeyDay, UsageDay as UsageDay


class Session(Metered):
    """One conversation of one partition (agent, scope)."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        RUNNING = "running"
        WAITING = "waiting"
        IDLE = "idle"
        EXPIRED = "expired"
        ARCHIVED = "archived"

    REPLAY = "replay"
    """The type of an operator's replay: its tenant is not shown it."""
    EVAL = "eval"
    """The type of an eval's session, which has a scope of its own."""

    id = models.CharField(primary_key=True, max_length=64)
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    session_type = models.CharField(max_length=20, default="chat")
    title = models.CharField(max_length=300, default="", blank=True)
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    automation = models.CharField(max_length=200, default="", blank=True)
    provider = models.CharField(max_length=50, default="", blank=True)
    model = models.CharField(max_length=200, default="", blank=True)
    message_count = models.IntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    """Known cost of all model calls in micro-dollars."""
    cost_known = models.BooleanField(default=True)
    """False as soon as one call had no known price."""
    reserved_seq = models.BigIntegerField(default=0)
    """Highest event number ever reserved; numbers above it are free."""
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    last_message_at = models.DateTimeField(db_default=Now())

    objects = SessionQuerySet.as_manager()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                F("agent"),
                F("scope_id"),
                F("updated_at").desc(),
                F("id").desc(),
                name="session_partition",
            ),
            models.Index("scope_id", F("updated_at").desc(), F("id").desc(), name="session_scope"),
            models.Index(F("updated_at").desc(), F("id").desc(), name="session_recent"),
            models.Index("status", "last_message_at", name="session_lifecycle"),
            models.Index("agent", F("updated_at").desc(), F("id").desc(), name="session_of_agent"),
            # Live sessions are few, or the newest of all.
            models.Index(
                "status",
                F("updated_at").desc(),
                F("id").desc(),
                condition=Q(status__in=("idle", "expired", "archived")),
                name="session_at_rest",
            ),
            models.Index(
                "automation",
                F("updated_at").desc(),
                F("id").desc(),
                condition=~Q(automation=""),
                name="session_automation",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.id


class Run(Metered):
    """One execution of the loop, from a message or trigger to `done`."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        DONE = "done"

    LIVE = (Status.RUNNING, Status.WAITING)
    TROUBLE = ("error", "user_abort", "max_turns", "loop_detected", "budget_exceeded")
    """Reasons of ends that an operator may want to know of."""
    stays_when_expired = True

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey(Session, models.CASCADE, db_index=False, related_name="runs")
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    agent_version = models.CharField(max_length=50, default="", blank=True)
    agent_hash = models.CharField(max_length=64, default="", blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    attempt = models.IntegerField(default=1)
    """Rises with every taking over; the fence of all appends."""
    losses = models.IntegerField(default=0)
    """Attempts that died with their process; a released lease is none."""
    owner = models.CharField(max_length=64, default="", blank=True)
    """Id of the host process that holds the lease."""
    lease_until = models.DateTimeField(null=True, blank=True)
    state = models.JSONField(default=dict, blank=True)
    """`engine.steps.RunState`."""
    request = models.JSONField(default=dict, blank=True)
    """What the caller asked for besides the message (`host.lifecycle.RunRequest`)."""
    copy_of = models.CharField(max_length=64, default="", db_default="", blank=True)
    """The run that this one tells of in a fork or before a replay; it did no work itself."""
    queue_rank = models.SmallIntegerField(default=1)
    """Order among the queued runs of a session: 0 goes first (it interrupts)."""
    steering = models.BooleanField(default=False)
    """Of a queued run: its message joins the live run if there still is one."""
    parked_at = models.DateTimeField(null=True, blank=True)
    parked_seconds = models.FloatField(default=0)
    """Time while people were awaited, in the queue, and without owner: it was not running then."""
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    rollback_requested = models.BooleanField(default=False)
    reason = models.CharField(max_length=30, default="", blank=True)
    error = models.JSONField(null=True, blank=True)
    cost_micros = models.BigIntegerField(default=0)
    cost_known = models.BooleanField(default=True)
    turns = models.IntegerField(default=0)
    first_seq = models.BigIntegerField(default=0)
    last_seq = models.BigIntegerField(default=0)
    """Number of the last committed event."""
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(status__in=["running", "waiting"]),
                name="one_live_run_per_session",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index("lease_until", condition=Q(status="running"), name="run_lease"),
            models.Index(F("created_at").desc(), F("id").desc(), name="run_recent"),
            models.Index("scope_id", F("created_at").desc(), F("id").desc(), name="run_of_scope"),
            models.Index("agent", F("created_at").desc(), F("id").desc(), name="run_of_agent"),
            models.Index(
                "reason",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(
                    reason__in=(
                        "error",
                        "user_abort",
                        "max_turns",
                        "loop_detected",
                        "budget_exceeded",
                    )
                ),
                name="run_trouble",
            ),
            models.Index("session", "first_seq", name="run_of_session"),
            models.Index(
                "session",
                "queue_rank",
                "created_at",
                condition=Q(status="queued"),
                name="run_queue",
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Message(models.Model):
    """One item of history as the model sees it (`engine.messages.Message`).

    Results of tool calls are not messages here: they stand on the `ToolCall`
    rows of the assistant message and are joined when history is loaded.
    """

    id = models.CharField(primary_key=True, max_length=80)
    session = models.ForeignKey(Session, models.CASCADE, db_index=False, related_name="messages")
    run = models.ForeignKey(Run, models.CASCADE, related_name="messages")
    attempt = models.IntegerField()
    scope_id = models.CharField(max_length=200, default="", blank=True)
    position = models.BigIntegerField()
    """Event number at which the message began: the order of history."""
    role = models.CharField(max_length=10)
    parts = VerbatimJSONField()
    aside = models.TextField(default="", blank=True)
    """Of a user message: what rode along for the model only (the time, later memory)."""
    partial = models.BooleanField(default=False)
    """The answer was cut: by a stop, an error, or a crash."""
    covers_until = models.BigIntegerField(null=True, blank=True)
    """Of a summary: positions up to this one are out of the model's view."""
    created_at = models.DateTimeField()

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["session", "position"], name="message_position"),
        ]

    def __str__(self) -> str:
        return self.id


class EventBatch(models.Model):
    """A stretch of a session's log: the events that one commit wrote, in order.

    `entries` is the JSON of `list[engine.events.Entry]`.
    """

    pk = models.CompositePrimaryKey("session_id", "first_seq")
    session = models.ForeignKey(
        Session, models.CASCADE, db_index=False, related_name="event_batches"
    )
    run = models.ForeignKey(Run, models.CASCADE, null=True, related_name="event_batches")
    attempt = models.IntegerField(default=0)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    entries = models.BinaryField()

    objects = EventBatchQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.session_id} {self.first_seq}-{self.last_seq}"


class Attachment(models.Model):
    """An image that a user sent; messages refer to it by id."""

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey(Session, models.CASCADE, related_name="attachments")
    scope_id = models.CharField(max_length=200, default="", blank=True)
    name = models.CharField(max_length=300, default="", blank=True)
    media_type = models.CharField(max_length=100)
    data = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.id


class Signal(models.Model):
    """A word to the process that owns a run: rows are the truth, NOTIFY only wakes."""

    class Kind(models.TextChoices):
        ANSWER = "answer"
        CREDENTIAL = "credential"
        INTERRUPT = "interrupt"
        ROLLBACK = "rollback"
        STEER = "steer"
        TITLE = "title"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="signals")
    scope_id = models.CharField(max_length=200, default="", blank=True)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    data: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id}"


class Interaction(models.Model):
    """A question to a person: a row, not a waiting coroutine. Answered once."""

    class Kind(models.TextChoices):
        CONFIRMATION = "confirmation"
        ASK_USER = "ask_user"
        ASK_CHOICE = "ask_choice"

    class Status(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        DENIED = "denied"
        ANSWERED = "answered"
        EXPIRED = "expired"
        WITHDRAWN = "withdrawn"

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey(Session, models.CASCADE, related_name="interactions")
    run = models.ForeignKey(Run, models.CASCADE, related_name="interactions")
    call = models.ForeignKey(ToolCall, models.CASCADE, related_name="interactions")
    scope_id = models.CharField(max_length=200, default="", blank=True)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    event = VerbatimJSONField()
    """The event that asked (`ConfirmationRequired`, `UserAsked`, `ChoiceAsked`)."""
    binding = models.CharField(max_length=64)
    """sha256 over tool, canonical arguments, call id and scope: what was agreed to."""
    answer: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    comment = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index("expires_at", condition=Q(status="open"), name="interaction_due"),
            models.Index("session", condition=Q(status="open"), name="interaction_open"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class IdempotencyKey(models.Model):
    """A caller's promise that two requests are one."""

    stays_when_expired = True
    """Its promise holds for 24 hours, and sessions may expire sooner."""

    id = models.BigAutoField(primary_key=True)
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    key = models.CharField(max_length=200)
    body_hash = models.CharField(max_length=64)
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    run_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["agent", "scope_id", "key"], name="idempotency_key_once"
            ),
        ]

    def __str__(self) -> str:
        return self.key
