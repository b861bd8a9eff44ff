"""Filters of the big lists.

Law: a filter is answered by an index, or says that it is `residual`: then, and beside another that
has one, the list looks through a bounded number of rows (`keyset.py`).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_time
from django.utils.timezone import make_aware
from unfold.contrib.filters.admin import (  # type: ignore[import-untyped]  # it has no types
    TextFilter,
)

from agentsite.rows.filters import EMPTY, read_span
from agentsite.rows.keyset import FEW, INDEXED, RESIDUAL, clean
from sessions_app.models import Run, Session, ToolCall
from sessions_app.searching import MOST_SPOKEN, Span, TooManyWords, find_spoken

CENTS = {"1": 10_000, "10": 100_000, "100": 1_000_000, "1000": 10_000_000}


WHEN = re.compile(r"(.*?)\s+(\d{4}-\d\d-\d\d)(?:[ T](\d{1,2}:\d\d))?")
AROUND = dt.timedelta(minutes=30)
"""A complaint's "at ten past two" is not to the minute."""


def split_time(term: str) -> tuple[str, tuple[dt.datetime, dt.datetime] | None]:
    """A search that ends in a day, or a day and a time: what is searched, and between when."""
    found = WHEN.fullmatch(term)
    if found is None:
        return term, None
    try:
        day = dt.date.fromisoformat(found[2])
        time = parse_time(found[3]) if found[3] else None
        if time is None:
            start = make_aware(dt.datetime.combine(day, dt.time.min))
            return found[1], (start, start + dt.timedelta(days=1))
        middle = make_aware(dt.datetime.combine(day, time))
        return found[1], (middle - AROUND, middle + AROUND)
    except (ValueError, OverflowError):  # no day at all, or one at the ends of the calendar
        return term, None


class SpokenFilter(TextFilter):  # type: ignore[misc]  # unfold has no types
    """Words that a user or the agent has said."""

    title, parameter_name = "words said", "said"
    reach = FEW

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows with a message that has the words."""
        words = clean(self.value())
        if not words:
            return queryset
        scope = clean(request.GET.get("scope"))
        # Of runs the list's own time counts: they are few in it, and messages may be many.
        span = read_span(request.GET, "created_at") if queryset.model is Run else None
        return by_words(request, queryset, words, "" if scope == EMPTY else scope or None, span)


def by_words(
    request: HttpRequest,
    queryset: QuerySet[Any],
    words: str,
    scope_id: str | None,
    span: Span | None = None,
) -> QuerySet[Any]:
    """Sessions or runs in which these words were said, in one scope or in all (None)."""
    asked = (words, scope_id, span)
    found = getattr(request, "spoken", None)  # once for each request: two lists ask for it
    if found is None or found[0] != asked:
        found = (asked, _search(request, *asked))
        request.spoken = found  # type: ignore[attr-defined]  # kept beside the request
        if len(found[1]) >= MOST_SPOKEN:
            text = f"More than {MOST_SPOKEN:,} messages have these words: name a scope or a time."
            messages.warning(request, text)
    place = 0 if queryset.model is Session else 1
    return queryset.filter(pk__in={pair[place] for pair in found[1]})


def _search(
    request: HttpRequest, words: str, scope_id: str | None, span: Span | None
) -> list[tuple[str, str]]:
    try:
        return find_spoken(words, scope_id, span)
    except TooManyWords:
        text = "This search took too long and was given up. Name a scope, or rarer words."
        messages.error(request, text)
        return []


class AutomationFilter(TextFilter):  # type: ignore[misc]  # unfold has no types
    """Conversations of one automation."""

    title, parameter_name = "automation", "automation"
    path: ClassVar[str] = "automation"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the automation."""
        name = clean(self.value())
        return queryset.filter(**{self.path: name}) if name else queryset


class RunAutomationFilter(AutomationFilter):
    """Runs of one automation."""

    path = "session__automation"
    residual = True


KINDS: dict[str, tuple[str, Q]] = {
    "own": (
        "Of callers and automations",
        Q(copy_of="") & ~Q(session__session_type__in=(Session.REPLAY, Session.EVAL)),
    ),
    "copy": ("Copies in forks and replays", ~Q(copy_of="")),
    "replay": ("Replays", Q(copy_of="", session__session_type=Session.REPLAY)),
    "eval": ("Evals", Q(session__session_type=Session.EVAL)),
}


class RunKindFilter(admin.SimpleListFilter):
    """Whose runs they are: figures count those of callers and automations alone."""

    title, parameter_name = "kind", "kind"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """All of them."""
        return [(name, words) for name, (words, _) in KINDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """Runs of the chosen one."""
        chosen = KINDS.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


class CostFilter(admin.SimpleListFilter):
    """What is expensive, or has no price."""

    title, parameter_name = "cost", "cost"
    residual = True

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """Steps of money."""
        steps = [(cents, f"At least ${micros / 1e6:g}") for cents, micros in CENTS.items()]
        return [*steps, ("unknown", "Price unknown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows that cost so much."""
        value = self.value()
        if value == "unknown":
            return queryset.filter(cost_known=False)
        return queryset.filter(cost_micros__gte=CENTS[value]) if value in CENTS else queryset


OUTCOMES: dict[str, tuple[str, Q]] = {
    "live": ("Working or waiting", Q(status__in=Run.LIVE)),
    "running": ("Working", Q(status="running")),
    "waiting": ("Waiting for a person", Q(status="waiting")),
    "queued": ("Queued", Q(status="queued")),
    "trouble": ("Anything but a good end", Q(reason__in=Run.TROUBLE)),
    "error": ("Failed", Q(reason="error")),
    "user_abort": ("Stopped by a person", Q(reason="user_abort")),
    "max_turns": ("Out of turns", Q(reason="max_turns")),
    "loop_detected": ("Went in circles", Q(reason="loop_detected")),
    "budget_exceeded": ("Out of money or tokens", Q(reason="budget_exceeded")),
    "unknown": (
        "A call's outcome is unknown",
        Q(pk__in=ToolCall.objects.filter(outcome_unknown=True).values("run_id")),
    ),
    "ended": ("Ended, however", ~Q(reason="")),
    "good": ("Ended well", Q(reason__in=("model_stop", "stopped"))),
}


FEW_RUNS = ("live", "running", "waiting", "queued", "unknown")
REACHES = {**dict.fromkeys(FEW_RUNS, FEW), "ended": RESIDUAL, "good": RESIDUAL}


class OutcomeFilter(admin.SimpleListFilter):
    """How runs stand, or ended."""

    title, parameter_name = "outcome", "outcome"

    @property
    def reach(self) -> str:
        """Live runs and unknown outcomes are few, troubles have an index, most runs end well."""
        return REACHES.get(self.value() or "", INDEXED)

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """All of them."""
        return [(name, words) for name, (words, _) in OUTCOMES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """Runs with the chosen one."""
        chosen = OUTCOMES.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset
