"""Automations, the times they are due, what set them off, their runs and what is delivered.

Law: files are the defaults, rows are what runs. Every due time is one `Occurrence` and every
sender's id one `InboundDelivery`: the database lets nobody work on either twice. An automation
belongs to an agent; runs, inbound and outbound deliveries belong to a partition of it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agentsite.rows.secrets import SecretField

EACH = "each"
"""The partition of an automation that runs once in every known scope."""


def seconds_from_now(seconds: float) -> models.expressions.Combinable:
    """A moment by the database's clock, for updates and conditions."""
    return Now() + dt.timedelta(seconds=seconds)


class Automation(models.Model):
    """A prompt that a clock, a webhook or a person sets off."""

    class Origin(models.TextChoices):
        FILE = "file", "a file of the agent"
        STAFF = "staff", "staff"

    class Trigger(models.TextChoices):
        CRON = "cron", "clock"
        WEBHOOK = "webhook", "webhook"
        MANUAL = "manual", "by hand"

    class Overlap(models.TextChoices):
        SKIP = "skip", "skip the later one"
        QUEUE = "queue", "let the later one wait"
        ALLOW = "allow", "run both"

    class CatchUp(models.TextChoices):
        NONE = "none", "run none that was missed"
        LAST = "last", "run the last that was missed"
        ALL = "all", "run all that were missed, up to ten"

    class Mode(models.TextChoices):
        SYNC = "sync", "answer when the run has ended"
        ASYNC = "async", "answer at once"

    agent = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.STAFF)
    title = models.CharField(max_length=300)
    prompt = models.TextField()
    trigger = models.CharField(max_length=10, choices=Trigger, default=Trigger.MANUAL)
    schedule = models.CharField(max_length=200, default="", blank=True)
    """Five cron fields; of trigger cron alone."""
    timezone = models.CharField(max_length=64, default="", blank=True)
    """IANA name; empty is the site's."""
    overlap = models.CharField(max_length=10, choices=Overlap, default=Overlap.SKIP)
    catch_up = models.CharField(max_length=10, choices=CatchUp, default=CatchUp.LAST)
    write_enabled = models.BooleanField(default=False)
    wait_for_person = models.BooleanField(default=False)
    """A confirmation parks the run for the admin (`"confirm": "wait"`); else it is a denial."""
    partition = models.CharField(max_length=200, default="", blank=True)
    """The file's `scope`: the partition of its runs; `each` runs once per known scope."""
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.SYNC)
    webhook_auth: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """How a sender proves itself, without the secret: `{type, header?, prefix?, tolerance}`."""
    webhook_secret = SecretField(null=True, blank=True)
    retries = models.PositiveSmallIntegerField(default=0)
    """Further runs after one that failed."""
    delivery: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """`{targets: [{type, …}], includeResult, template?}`, secrets taken out."""
    failure_alert: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """`{after, cooldownMinutes, targets}`, secrets taken out."""
    target_secrets = SecretField(null=True, blank=True)
    """JSON `{"<delivery|failure_alert>.<index>": {"<key>": "…"}}`: taken out of targets."""
    file_values: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """The columns above as the file gives them (secrets as digests); null without file."""
    changed = models.JSONField(default=list, blank=True)
    """Names of columns that staff changed here: the file does not touch them."""
    paused = models.BooleanField(default=False)
    pause_reason = models.CharField(max_length=200, default="", blank=True)
    periodic_task = models.OneToOneField(
        "django_celery_beat.PeriodicTask", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """What celery-beat fires; of trigger cron alone."""
    armed_since = models.DateTimeField(null=True, blank=True)
    """Due times before this moment do not count: when it was made, resumed or rescheduled."""
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["agent", "name"], name="automation_once"),
        ]

    def __str__(self) -> str:
        return self.title or self.name


class FailureStreak(models.Model):
    """How an automation has been failing in one partition: each has a count of its own."""

    automation = models.ForeignKey(
        Automation, models.CASCADE, db_index=False, related_name="streaks"
    )
    scope_id = models.CharField(max_length=200, default="", blank=True)
    failures = models.PositiveIntegerField(default=0)
    """Runs in a row that failed; 0 again after one that succeeded."""
    last_alert_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["automation", "scope_id"], name="failure_streak_once"),
        ]

    def __str__(self) -> str:
        return f"{self.failures} failures"


class Occurrence(models.Model):
    """A time at which an automation was due: claimed once, whoever saw it first."""

    class Status(models.TextChoices):
        RUN = "run", "run"
        SKIPPED = "skipped", "skipped"
        MISSED = "missed", "missed"

    automation = models.ForeignKey(
        Automation, models.CASCADE, db_index=False, related_name="occurrences"
    )
    due_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status, default=Status.RUN)
    reason = models.CharField(max_length=300, default="", blank=True)
    """Why it was skipped or missed."""
    claimed_by = models.CharField(max_length=64, default="", blank=True)
    claimed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["automation", "due_at"], name="occurrence_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(F("due_at").desc(), F("id").desc(), name="occurrence_recent"),
            models.Index(
                "status",
                F("due_at").desc(),
                F("id").desc(),
                condition=~Q(status="run"),
                name="occurrence_not_run",
            ),
            models.Index(
                "automation",
                F("due_at").desc(),
                condition=~Q(status="run"),
                name="occurrence_not_run_of",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.due_at:%Y-%m-%d %H:%M} {self.status}"


class InboundDelivery(models.Model):
    """A webhook that came in, whole, and what was answered."""

    automation = models.ForeignKey(
        Automation, models.CASCADE, db_index=False, related_name="inbound"
    )
    scope_id = models.CharField(max_length=200, default="", blank=True)
    sender_id = models.CharField(max_length=300, null=True, blank=True)  # noqa: DJ001
    """The sender's own id of the delivery; null when it gave none, and then it is always new."""
    headers = models.JSONField(default=dict, blank=True)
    """Without those that prove who sent it."""
    body = models.BinaryField()
    """The raw bytes."""
    replay_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    answer_status = models.PositiveSmallIntegerField(null=True, blank=True)
    answer: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """What was answered, as soon as there is an answer."""
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "inbound delivery"
        verbose_name_plural = "inbound deliveries"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["automation", "sender_id"], name="inbound_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(F("received_at").desc(), F("id").desc(), name="inbound_recent"),
            models.Index(
                "automation", F("received_at").desc(), F("id").desc(), name="inbound_of_automation"
            ),
            models.Index("sender_id", name="inbound_of_sender"),
        ]

    def __str__(self) -> str:
        return self.sender_id or str(self.pk)


class AutomationRun(models.Model):
    """One run of an automation in one partition; the conversation is `session_id`."""

    class Cause(models.TextChoices):
        CRON = "cron", "clock"
        WEBHOOK = "webhook", "webhook"
        MANUAL = "manual", "by hand"
        RETRY = "retry", "retry"

    class Status(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        WAITING = "waiting", "waits for a person"
        SUCCESS = "success", "success"
        FAILED = "failed", "failed"

    OPEN = (Status.QUEUED, Status.RUNNING, Status.WAITING)

    id = models.CharField(primary_key=True, max_length=64)
    """`arun_…`."""
    automation = models.ForeignKey(Automation, models.CASCADE, db_index=False, related_name="runs")
    scope_id = models.CharField(max_length=200, default="", blank=True)
    cause = models.CharField(max_length=10, choices=Cause)
    occurrence = models.ForeignKey(
        Occurrence, models.SET_NULL, null=True, blank=True, related_name="runs"
    )
    inbound = models.ForeignKey(
        InboundDelivery, models.SET_NULL, null=True, blank=True, related_name="runs"
    )
    requested_by = models.CharField(max_length=200, default="", blank=True)
    """The person or key that asked for it, of cause manual."""
    request_key = models.CharField(max_length=64, default="", blank=True)
    """Digest of the caller's Idempotency-Key, of cause manual."""
    request_hash = models.CharField(max_length=64, default="", blank=True)
    """Hash of the body that came with that key."""
    event = models.TextField(null=True, blank=True)  # noqa: DJ001
    """What was sent, as the prompt shows it (`prompt.render_event`); null when nothing was."""
    tries = models.PositiveSmallIntegerField(default=1)
    """Which try it is; above 1 of cause retry."""
    retry_of = models.OneToOneField(
        "self", models.SET_NULL, null=True, blank=True, related_name="retried_by"
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    claimed_until = models.DateTimeField(null=True, blank=True)
    """While it is set and to come, some process is starting or finishing this run."""
    session_id = models.CharField(max_length=64, default="", blank=True)
    run_id = models.CharField(max_length=64, default="", blank=True)
    output = models.TextField(default="", blank=True)
    """The answer's text."""
    summary = models.TextField(default="", blank=True)
    error = models.TextField(default="", blank=True)
    last_tool_call = models.CharField(max_length=300, default="", blank=True)
    """Of a failed run: name and id of the last call it made."""
    cost_micros = models.BigIntegerField(null=True, blank=True)
    """Micro-dollars; null while unknown."""
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["occurrence", "scope_id"],
                condition=Q(cause="cron"),
                name="one_run_per_occurrence",
            ),
            models.UniqueConstraint(
                fields=["inbound", "scope_id"],
                condition=Q(cause="webhook"),
                name="one_run_per_inbound",
            ),
            models.UniqueConstraint(
                fields=["run_id"], condition=~Q(run_id=""), name="automation_run_of_run"
            ),
            models.UniqueConstraint(
                fields=["automation", "scope_id", "request_key"],
                condition=~Q(request_key=""),
                name="one_run_per_key",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                F("automation"), F("created_at").desc(), F("id").desc(), name="arun_of_automation"
            ),
            models.Index(F("created_at").desc(), F("id").desc(), name="arun_recent"),
            models.Index(
                "status", F("created_at").desc(), F("id").desc(), name="arun_recent_of_status"
            ),
            models.Index(
                "cause",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(cause__in=["manual", "retry"]),
                name="arun_recent_of_cause",
            ),
            models.Index("session_id", condition=~Q(session_id=""), name="arun_of_session"),
            models.Index(
                "automation",
                "scope_id",
                F("ended_at").desc(),
                condition=Q(status="success"),
                name="arun_success",
            ),
            models.Index(
                "status",
                "claimed_until",
                condition=Q(status__in=["queued", "running", "waiting"]),
                name="arun_open",
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Delivery(models.Model):
    """One result or alert on its way to one target; its id stays the same over all attempts."""

    class Kind(models.TextChoices):
        RESULT = "result", "result"
        ALERT = "alert", "failure alert"

    class Status(models.TextChoices):
        PENDING = "pending", "pending"
        DELIVERED = "delivered", "delivered"
        DEAD = "dead", "dead letter"

    id = models.CharField(primary_key=True, max_length=64)
    """`msg_…`: the `webhook-id` that receivers see."""
    automation_run = models.ForeignKey(AutomationRun, models.CASCADE, related_name="deliveries")
    automation = models.ForeignKey(
        Automation, models.CASCADE, db_index=False, related_name="deliveries"
    )
    """The run's."""
    scope_id = models.CharField(max_length=200, default="", blank=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.RESULT)
    target_index = models.PositiveSmallIntegerField(default=0)
    """Place of its target in the automation's `delivery` or `failure_alert`."""
    target_type = models.CharField(max_length=20)
    target: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """As in the automation when the delivery was made, secrets taken out."""
    target_mark = models.CharField(max_length=64, default="", blank=True)
    """Digest of what was taken out: by it a target is known; empty when nothing was."""
    payload: models.JSONField[Any, Any] = models.JSONField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    """When it may be sent, or, while it is being sent, when others may try."""
    response_code = models.PositiveSmallIntegerField(null=True, blank=True)
    problem = models.CharField(max_length=500, default="", blank=True)
    """What was wrong with the last attempt."""
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["automation_run", "kind", "target_index"], name="delivery_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index("next_try_at", condition=Q(status="pending"), name="delivery_due"),
            models.Index(F("created_at").desc(), F("id").desc(), name="delivery_recent"),
            models.Index(
                "status",
                F("created_at").desc(),
                F("id").desc(),
                condition=~Q(status="delivered"),
                name="delivery_open",
            ),
            models.Index(
                "automation",
                F("created_at").desc(),
                F("id").desc(),
                name="delivery_of_automation",
            ),
            models.Index(
                "automation",
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(status="dead"),
                name="delivery_dead_of",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.target_type} {self.id}"
