"""Rows about money: budgets, what is held for calls under way, prices of the operators.

Law: amounts that are added are whole micro-dollars; what people type is US dollars. A budget of
a scope carries agent and scope; any other names what it limits in `subject`, so that erasing a
scope takes its own rows and no others.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

DOLLARS: dict[str, Any] = {"max_digits": 16, "decimal_places": 6}
AT_LEAST_0 = [MinValueValidator(Decimal(0))]


class Budget(models.Model):
    """What may be spent, set by an operator; it stands in place of the manifest's."""

    class Kind(models.TextChoices):
        SCOPE = "scope", "a scope"
        AGENT = "agent", "an agent, all scopes together"
        KEY = "key", "an API key"
        RUN = "run", "each run of an agent"

    class Period(models.TextChoices):
        DAY = "day", "each day (UTC)"
        MONTH = "month", "each month (UTC)"
        RUN = "run", "each run"

    kind = models.CharField(max_length=10, choices=Kind)
    agent = models.CharField(max_length=200, default="", blank=True)
    """Of a scope's budget."""
    scope_id = models.CharField(max_length=200, default="", blank=True)
    subject = models.CharField(max_length=200, default="", blank=True)
    """Agent, or id of the key, of any other."""
    period = models.CharField(max_length=10, choices=Period)
    limit = models.DecimalField(**DOLLARS, validators=AT_LEAST_0, help_text="US dollars")
    soft = models.DecimalField(
        max_digits=3,
        decimal_places=2,
        default=Decimal("0.80"),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(1))],
        help_text="Share of the limit at which operators are told",
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["scope_id", "agent", "kind", "subject", "period"], name="budget_once"
            ),
            models.CheckConstraint(
                condition=Q(kind="run", period="run") | ~Q(kind="run") & ~Q(period="run"),
                name="budget_period_fits",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.named} ({self.period}): ${self.limit:,.2f}"

    @property
    def named(self) -> str:
        """What it limits."""
        if self.kind == self.Kind.SCOPE:
            return f"scope {self.agent} / {self.scope_id or '(empty)'}"
        return f"{self.kind} {self.subject}"

    def clean(self) -> None:
        """Say what does not go together. Raises `ValidationError`."""
        of_run = self.kind == self.Kind.RUN
        if of_run != (self.period == self.Period.RUN):
            raise ValidationError({"period": "A run's budget is for each run, any other is not."})
        if self.kind == self.Kind.SCOPE:
            if not self.agent or self.subject:
                raise ValidationError("A scope's budget names agent and scope, and no subject.")
        elif not self.subject or self.agent or self.scope_id:
            raise ValidationError("Any other budget names its subject alone: an agent or a key.")
        if self.kind == self.Kind.KEY and not _is_key(self.subject):
            text = (
                'There is no key of this number. "Set a budget…" in the list of keys fills it in.'
            )
            raise ValidationError({"subject": text})


def _is_key(subject: str) -> bool:
    """Whether it is the number of a key, written as budgets are looked up by it."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", subject):
        return False
    keys = apps.get_model("sessions_app", "ApiKey")._default_manager
    return bool(keys.filter(pk=subject).exists())


class Reservation(models.Model):
    """Money kept back for a model call that is under way, or for the closing turn of a run.

    It goes in the commit that writes the call. One whose call nobody saw end counts as spent.
    """

    id = models.CharField(primary_key=True, max_length=80)
    agent = models.CharField(max_length=200)
    scope_id = models.CharField(max_length=200, default="", blank=True)
    key_id = models.BigIntegerField(null=True)
    run_id = models.CharField(max_length=64)
    attempt = models.IntegerField(default=1)
    purpose = models.CharField(max_length=12)
    micros = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    """After this nobody waits for the call any more: it was lost."""
    lost_at = models.DateTimeField(null=True)
    """When its attempt was lost."""

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["agent", "scope_id"], name="reservation_of"),
            models.Index(fields=["run_id"], name="reservation_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.run_id}"


class PriceOverride(models.Model):
    """A price of the operators, in US dollars per million tokens, for a span of time."""

    provider = models.CharField(max_length=50, help_text="anthropic, openai, google or scripted")
    model = models.CharField(max_length=200)
    input = models.DecimalField(**DOLLARS, validators=AT_LEAST_0)
    output = models.DecimalField(**DOLLARS, validators=AT_LEAST_0)
    cache_read = models.DecimalField(**DOLLARS, null=True, blank=True, validators=AT_LEAST_0)
    cache_write = models.DecimalField(**DOLLARS, null=True, blank=True, validators=AT_LEAST_0)
    cache_write_1h = models.DecimalField(
        **DOLLARS, null=True, blank=True, validators=AT_LEAST_0, verbose_name="cache write, 1 hour"
    )
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(
        null=True, blank=True, help_text="The first moment at which it is valid no more"
    )
    note = models.CharField(max_length=300, default="", blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["provider", "model", "valid_from"], name="price_override_once"
            ),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gt=models.F("valid_from")),
                name="price_override_span",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} from {self.valid_from:%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        """Refuse a span that another price of the model has. Raises `ValidationError`."""
        if self.valid_from is None:
            return
        same = PriceOverride.objects.filter(provider=self.provider, model=self.model)
        later = same.exclude(pk=self.pk).filter(
            Q(valid_until=None) | Q(valid_until__gt=self.valid_from)
        )
        if self.valid_until is not None:
            later = later.filter(valid_from__lt=self.valid_until)
        other = later.order_by("valid_from").first()
        if other is not None:
            until = "for good" if other.valid_until is None else f"until {other.valid_until}"
            text = f"Another price of this model is valid then, from {other.valid_from} {until}."
            raise ValidationError({"valid_from": text})


class Alert(models.Model):
    """Something that operators should know of, told once."""

    class Level(models.TextChoices):
        WARNING = "warning"
        CRITICAL = "critical"

    kind = models.CharField(max_length=30)
    """What it is about (`alerts.KINDS`)."""
    level = models.CharField(max_length=10, choices=Level)
    agent = models.CharField(max_length=200, default="", blank=True)
    """Of one that is about a scope."""
    scope_id = models.CharField(max_length=200, default="", blank=True)
    title = models.CharField(max_length=300)
    details = models.JSONField(default=dict, blank=True)
    once = models.CharField(max_length=500, unique=True)
    """Names the occasion: another alert with the same words is none."""
    created_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["-created_at", "-id"], name="alert_recent"),
            models.Index(fields=["kind", "title"], condition=Q(closed_at=None), name="alert_open"),
        ]

    def __str__(self) -> str:
        return self.title
