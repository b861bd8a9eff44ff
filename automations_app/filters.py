"""Filters of the lists of automations' runs, due times, webhooks and deliveries.

Law: as of all big lists (`rows/keyset.py`): a value that has no index is looked for in stretches.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from agentsite.manifest.automations import TARGET_KEYS
from agentsite.rows.filters import ChoiceFilter
from agentsite.rows.keyset import FEW, INDEXED, RESIDUAL
from automations_app.late import find_due, find_stuck
from automations_app.models import Automation, AutomationRun, Delivery, InboundDelivery

OF = "automation__id__exact"
"""Parameter of the lists: the automation whose rows are shown."""


class AutomationFilter(admin.SimpleListFilter):
    """One automation: its own page leads to the lists with it, and here it can be let go."""

    title, parameter_name = "automation", OF
    reach = INDEXED

    def has_output(self) -> bool:
        """Shown where it is asked for, be it for one that is gone."""
        return bool(self.value())

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """The chosen one; there may be too many to offer them all."""
        key = self._read_key()
        chosen = [] if key is None else Automation.objects.filter(pk=key).only("name", "title")
        return [(str(row.pk), str(row)) for row in chosen]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Its rows; none for what is no number."""
        if not self.value():
            return queryset
        key = self._read_key()
        return queryset.none() if key is None else queryset.filter(automation=key)

    def _read_key(self) -> int | None:
        try:
            return int(self.value() or "")
        except ValueError:
            return None


class StatusFilter(admin.SimpleListFilter):
    """How they stand."""

    title, parameter_name = "status", "status__exact"
    many: ClassVar[str] = ""
    """The status of most rows, which no index has."""

    @property
    def reach(self) -> str:
        """All but the most frequent have an index."""
        return RESIDUAL if self.value() == self.many else INDEXED

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Those of the table."""
        return list(model_admin.model.Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows that stand so."""
        return queryset.filter(status=self.value()) if self.value() else queryset


class RunStatusFilter(StatusFilter):
    """The same of runs, of which those that have not ended are few."""

    OPEN: ClassVar[str] = "open"
    STUCK: ClassVar[str] = "stuck"

    @property
    def reach(self) -> str:
        """Each status has an index, and open runs have one together."""
        return FEW if self.value() in (self.OPEN, self.STUCK) else INDEXED

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Those of the table, before them all that have not ended, or that nobody starts."""
        more = [(self.OPEN, "not ended"), (self.STUCK, "stuck: could have been started")]
        return [*more, *super().lookups(request, model_admin)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows that stand so."""
        if self.value() == self.OPEN:
            return queryset.filter(status__in=AutomationRun.OPEN)
        if self.value() == self.STUCK:
            return find_stuck(queryset)
        return super().queryset(request, queryset)


class OccurrenceStatusFilter(StatusFilter):
    """The same of due times, most of which were run."""

    many = "run"


class DeliveryStatusFilter(StatusFilter):
    """The same of deliveries, most of which have arrived."""

    many = Delivery.Status.DELIVERED
    DUE: ClassVar[str] = "due"

    @property
    def reach(self) -> str:
        """Those that are due are few, and have an index of their own."""
        return FEW if self.value() == self.DUE else super().reach

    @property
    def indexed_with(self) -> str:
        """Dead letters have an index of each automation."""
        return OF if self.value() == Delivery.Status.DEAD else ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Those of the table, before them those whose time has come."""
        return [(self.DUE, "due"), *super().lookups(request, model_admin)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows that stand so."""
        if self.value() == self.DUE:
            return find_due(queryset)
        return super().queryset(request, queryset)


class CauseFilter(ChoiceFilter):
    """What set runs off."""

    title, parameter_name, column = "cause", "cause__exact", "cause"
    choices_of_column = AutomationRun.Cause.choices

    @property
    def reach(self) -> str:
        """What people did has an index."""
        return INDEXED if self.value() in ("manual", "retry") else RESIDUAL


class KindFilter(ChoiceFilter):
    """Results, or alerts."""

    title, parameter_name, column = "kind", "kind__exact", "kind"
    choices_of_column = Delivery.Kind.choices


class TargetFilter(ChoiceFilter):
    """Where deliveries go."""

    title = parameter_name = "target"
    column = "target_type"
    choices_of_column = [(kind, kind) for kind in TARGET_KEYS]


class AnswerFilter(admin.SimpleListFilter):
    """How webhooks were answered; which answers there are is not read off the rows."""

    title = parameter_name = "answer"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """None, or a class of status codes."""
        return [("none", "not yet"), ("good", "2xx"), ("refused", "4xx"), ("failed", "5xx")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[InboundDelivery]
    ) -> QuerySet[InboundDelivery]:
        """Webhooks that were answered so."""
        if self.value() == "none":
            return queryset.filter(answer_status=None)
        first = {"good": 200, "refused": 400, "failed": 500}.get(self.value() or "")
        return queryset.filter(answer_status__range=(first, first + 99)) if first else queryset
