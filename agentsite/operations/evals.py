"""Rows of evals: what was asked of an agent, on which models, and what came of each.

Law: they are the operators' and carry no tenant's data: an eval runs in a scope of its own
(`scope_of`). A result keeps what it was judged by, so it outlives its session and the files.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

ABOVE_ZERO: dict[str, Any] = {"default": 0}


def scope_of(eval_run_id: str, lane: int) -> str:
    """The scope in which one lane of an eval run works; no tenant can have it by chance."""
    return f"eval/{eval_run_id}/{lane}"


class EvalRun(models.Model):
    """Some evals of one agent, each on some models, so and so often."""

    class Status(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        DONE = "done", "done"
        STOPPED = "stopped", "stopped"
        BROKEN = "broken", "broken off"

    OPEN = (Status.QUEUED, Status.RUNNING)

    id = models.CharField(primary_key=True, max_length=64)
    agent = models.CharField(max_length=200)
    agent_version = models.CharField(max_length=50, default="", blank=True)
    agent_hash = models.CharField(max_length=64, default="", blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    evals: models.JSONField[Any, Any] = models.JSONField(default=list)
    """Names, in the order of the files."""
    model_names: models.JSONField[Any, Any] = models.JSONField(default=list)
    """`provider/model` of each, all of the agent's manifest."""
    judge = models.CharField(max_length=250, default="", blank=True)
    """`provider/model` of the judge; empty: the agent's main model."""
    repeats = models.IntegerField(default=1)
    lanes = models.IntegerField(default=1)
    """How many results are worked at once."""
    allow_writes = models.BooleanField(default=False)
    """Tools that write outside of this server may be called."""
    requested_by = models.CharField(max_length=200, default="", blank=True)
    by_command = models.BooleanField(default=False)
    """A process of its own works it: no server goes on with what it leaves behind."""
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    owner = models.CharField(max_length=64, default="", blank=True)
    """The host that works it, under a lease as runs have it."""
    claimed_until = models.DateTimeField(null=True, blank=True)
    attempts = models.IntegerField(**ABOVE_ZERO)
    passed = models.IntegerField(**ABOVE_ZERO)
    failed = models.IntegerField(**ABOVE_ZERO)
    errors = models.IntegerField(**ABOVE_ZERO)
    cost_micros = models.BigIntegerField(**ABOVE_ZERO)
    """Known cost, the judge's included, in micro-dollars."""
    cost_known = models.BooleanField(default=True)
    error = models.TextField(default="", blank=True)
    """Why it could not be worked at all."""
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "eval run"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(F("created_at").desc(), F("id").desc(), name="eval_run_recent"),
            models.Index(
                "claimed_until", condition=Q(status__in=("queued", "running")), name="eval_run_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent}, {self.created_at:%Y-%m-%d %H:%M}"


class EvalResult(models.Model):
    """What one eval came to on one model."""

    class Status(models.TextChoices):
        PENDING = "pending", "waits"
        RUNNING = "running", "running"
        PASSED = "passed", "passed"
        FAILED = "failed", "failed"
        ERROR = "error", "error"
        SKIPPED = "skipped", "not run"

    OPEN = (Status.PENDING, Status.RUNNING)
    ENDED = (Status.PASSED, Status.FAILED, Status.ERROR)

    eval_run = models.ForeignKey(EvalRun, models.CASCADE, db_index=False, related_name="results")
    agent = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    """Of the file, without `.md`."""
    title = models.CharField(max_length=300, default="", blank=True)
    model = models.CharField(max_length=250)
    """`provider/model`."""
    repeat = models.IntegerField(default=1)
    """From 1 on."""
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    query = models.TextField(default="", blank=True)
    """What the agent was told, context included."""
    response = models.TextField(default="", blank=True)
    """The last text that the agent said."""
    tool_calls: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """`[{name, by, arguments, result, status}]` in order; `by` is a sub-agent or empty."""
    assertions: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """`[{text, kind, negated, passed, reason}]`; `passed` is null where it could not be judged."""
    turns = models.IntegerField(**ABOVE_ZERO)
    duration_ms = models.IntegerField(null=True, blank=True)
    cost_micros = models.BigIntegerField(null=True, blank=True)
    """Of the agent, in micro-dollars; null while it runs and where a price is unknown."""
    judge_micros = models.BigIntegerField(null=True, blank=True)
    """Of the judge, likewise."""
    input_tokens = models.BigIntegerField(**ABOVE_ZERO)
    output_tokens = models.BigIntegerField(**ABOVE_ZERO)
    session_id = models.CharField(max_length=64, default="", blank=True)
    run_id = models.CharField(max_length=64, default="", blank=True)
    lane = models.IntegerField(default=1)
    error = models.TextField(default="", blank=True)
    """Why it could not be tried or judged, or how the run ended instead of with an answer."""
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "eval result"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["eval_run", "name", "model", "repeat"], name="eval_result_once"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                "agent", "name", F("created_at").desc(), F("id").desc(), name="eval_result_history"
            ),
            models.Index(F("created_at").desc(), F("id").desc(), name="eval_result_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.model}"
