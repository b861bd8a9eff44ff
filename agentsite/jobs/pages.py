"""celery-beat's admin pages in the look of all others; what we own can be seen there, not changed.

Law: automations are changed on their own pages, the site's regular work by its code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    PeriodicTaskAdmin,
    PeriodicTaskForm,
)
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.widgets import (  # type: ignore[import-untyped]  # it has no types
    UnfoldAdminTextInputWidget,
)

from agentsite.rows.audited import Audited
from automations_app.clock import FIRE

OWNED = Q(task=FIRE) | Q(name__startswith="Automations: ") | Q(name__startswith="Site: ")

for model in (PeriodicTask, CrontabSchedule, IntervalSchedule, ClockedSchedule, SolarSchedule):
    admin.site.unregister(model)


class TaskForm(PeriodicTaskForm):  # type: ignore[misc]  # the library has no types
    """Without the choice of tasks, which only a worker knows."""

    regtask = None
    task = forms.CharField(widget=UnfoldAdminTextInputWidget(), max_length=200)


@admin.register(PeriodicTask)
class TaskPages(Audited, PeriodicTaskAdmin, ModelAdmin):  # type: ignore[misc]  # neither has types
    """What beat sends, and when it last did."""

    form = TaskForm
    change_form_template = None
    actions = ("enable_tasks", "disable_tasks", "toggle_tasks")
    list_display = ("name", "enabled", "scheduler", "last_run_at", "total_run_count")
    fieldsets = (
        (None, {"fields": ("name", "task", "enabled", "description")}),
        (
            "Schedule",
            {"fields": ("interval", "crontab", "clocked", "start_time", "one_off", "last_run_at")},
        ),
        ("Arguments", {"fields": ("args", "kwargs")}),
        ("How it is sent", {"fields": ("expires", "expire_seconds", "queue", "priority")}),
    )
    readonly_fields = ("last_run_at",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What we own is seen only."""
        return not is_owned(obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The same for deletion."""
        return not is_owned(obj) and bool(super().has_delete_permission(request, obj))

    @admin.action(description="Enable selected tasks (other than ours)", permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Switch on."""
        self._turn(request, queryset, super().enable_tasks)

    @admin.action(description="Disable selected tasks (other than ours)", permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Switch off."""
        self._turn(request, queryset, super().disable_tasks)

    @admin.action(description="Toggle selected tasks (other than ours)", permissions=["change"])
    def toggle_tasks(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Switch over."""
        self._turn(request, queryset, super().toggle_tasks)

    def _turn(self, request: HttpRequest, rows: QuerySet[Any], turn: Callable[..., None]) -> None:
        """Do it to those that are not ours, and write down what differs."""
        chosen = rows.exclude(OWNED)
        with transaction.atomic():
            before = dict(chosen.values_list("pk", "enabled"))
            turn(request, PeriodicTask.objects.filter(pk__in=before))
            for row in PeriodicTask.objects.filter(pk__in=before):
                if row.enabled != before[row.pk]:
                    told = [{"enabled": before[row.pk]}, {"enabled": row.enabled}]
                    self.audit(request, "turned", row, *told)


def is_owned(row: Any) -> bool:
    """Whether a row is of an automation, or of the site's regular work."""
    return row is not None and PeriodicTask.objects.filter(OWNED, pk=row.pk).exists()


def owns_schedule(row: Any) -> bool:
    """Whether a schedule is used by something of ours."""
    return row is not None and row.periodictask_set.filter(OWNED).exists()


class SchedulePages(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Schedules; those that ours use are seen only."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether nothing of ours uses it."""
        return not owns_schedule(obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The same for deletion, which would take the tasks along."""
        return not owns_schedule(obj) and bool(super().has_delete_permission(request, obj))


@admin.register(CrontabSchedule)
class CrontabPages(SchedulePages, CrontabScheduleAdmin):  # type: ignore[misc]  # no types
    """Times of day."""


@admin.register(ClockedSchedule)
class ClockedPages(SchedulePages, ClockedScheduleAdmin):  # type: ignore[misc]  # no types
    """Single moments."""


@admin.register(IntervalSchedule, SolarSchedule)
class OtherPages(SchedulePages):
    """Intervals; the sun."""
