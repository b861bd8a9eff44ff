"""Questions about cost: sums over days, by what they are divided, never over single calls.

Law: every list adds up to the totals above it: what a list leaves out is one line, "others".
Without scopes the sums of agents are read (`AgentDay`), so that many scopes cost nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import msgspec
from django.db.models import F, Q, QuerySet, Sum
from django.utils.datastructures import MultiValueDict

from sessions_app.models import AgentDay, UsageDay

By = Literal["day", "agent", "scope", "model", "purpose"]
KEYS: dict[By, tuple[str, ...]] = {
    "day": ("day",),
    "agent": ("agent",),
    "scope": ("agent", "scope_id"),
    "model": ("provider", "model"),
    "purpose": ("purpose",),
}
TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
SUMS = ("calls", "failed", "unpriced", *TOKENS, "cost_micros")
DAYS = 30
MOST_DAYS = 800
MOST_ROWS = 50
MOST_SCOPES = 12
"""That are compared at once."""


class Line(msgspec.Struct, frozen=True):
    """Sums of one thing; `key` is empty for all that a list leaves out."""

    key: tuple[str, ...]
    sums: Mapping[str, int]

    @property
    def cost_micros(self) -> int:
        """Of the calls whose price is known."""
        return self.sums["cost_micros"]

    @property
    def tokens(self) -> int:
        """All classes together."""
        return sum(self.sums[name] for name in TOKENS)


class Question(msgspec.Struct, frozen=True):
    """What is asked for; days are UTC and both count."""

    start: dt.date
    end: dt.date
    by: By = "day"
    agent: str = ""
    model: str = ""
    purpose: str = ""
    scopes: tuple[str, ...] | None = None
    """None: all of them; the empty text is a scope of its own."""

    @property
    def days(self) -> list[dt.date]:
        """Each day of the span."""
        count = (self.end - self.start).days + 1
        return [self.start + dt.timedelta(days=number) for number in range(count)]


def read_question(given: MultiValueDict[str, str], by: By = "day") -> Question:
    """A question out of a query string; what makes no sense is left out."""
    today = dt.datetime.now(dt.UTC).date()
    end = _day(given.get("until")) or today
    start = _day(given.get("from")) or end - dt.timedelta(days=DAYS - 1)
    start = min(max(start, end - dt.timedelta(days=MOST_DAYS)), end)
    wanted = given.get("by")
    named = [*given.getlist("scope"), *filter(None, given.getlist("more"))]
    scopes = tuple(dict.fromkeys(named))[:MOST_SCOPES]
    texts = {
        name: given.get(name, "").replace("\x00", "") for name in ("agent", "model", "purpose")
    }
    return Question(
        start=start,
        end=end,
        by=wanted if wanted in get_args(By) else by,  # type: ignore[arg-type]  # one of them
        scopes=tuple(scope.replace("\x00", "") for scope in scopes) or None,
        **texts,
    )


def _day(text: str | None) -> dt.date | None:
    try:
        day = dt.date.fromisoformat(text or "")
    except ValueError:
        return None
    return max(day, dt.date.min + dt.timedelta(days=MOST_DAYS))  # there are days before it


def _rows(question: Question, *, scoped: bool = False) -> QuerySet[Any]:
    """Sums of agents where they suffice: they are the same and much fewer."""
    scoped = scoped or question.scopes is not None
    rows: QuerySet[Any] = (UsageDay if scoped else AgentDay)._default_manager.filter(
        day__gte=question.start, day__lte=question.end
    )
    if question.scopes is not None:
        rows = rows.filter(scope_id__in=question.scopes)
    if question.agent:
        rows = rows.filter(agent=question.agent)
    if question.model:
        provider, slash, name = question.model.partition("/")
        rows = rows.filter(provider=provider, model=name) if slash else rows.filter(model=provider)
    if question.purpose:
        rows = rows.filter(purpose=question.purpose)
    return rows


def _sums() -> dict[str, Sum]:
    return {f"sum_{name}": Sum(name, default=0) for name in SUMS}


def add_up(question: Question) -> Line:
    """The totals."""
    found = _rows(question).aggregate(**_sums())
    return Line((), {name: int(found[f"sum_{name}"]) for name in SUMS})


def list_lines(question: Question, most: int | None = MOST_ROWS) -> list[Line]:
    """One line for each of what it is divided by: days in order, else the dearest first."""
    lines = list(islice_lines(question, most))
    if most is not None and len(lines) == most:
        total = add_up(question).sums
        rest = {name: total[name] - sum(line.sums[name] for line in lines) for name in SUMS}
        if rest["calls"]:
            lines.append(Line((), rest))
    return lines


def islice_lines(question: Question, most: int | None = None) -> Iterator[Line]:
    """The lines, as they come."""
    keys = KEYS[question.by]
    order = ("-day",) if question.by == "day" else ("-sum_cost_micros", *keys)
    rows = _rows(question, scoped=question.by == "scope").filter(calls__gt=0)
    if most is not None and question.by == "scope":
        # Which they are is found by their cost alone, among many; the rest is read of those few.
        rows = rows.filter(_any_of(keys, _find_dearest(rows, keys, most)))
    rows = rows.values(*keys).annotate(**_sums()).order_by(*order)
    for row in rows[:most] if most is not None else rows.iterator(2_000):
        yield Line(
            tuple(str(row[key]) for key in keys),
            {name: int(row[f"sum_{name}"]) for name in SUMS},
        )


def _find_dearest(rows: QuerySet[Any], keys: tuple[str, ...], most: int) -> list[tuple[Any, ...]]:
    dearest = rows.values(*keys).annotate(sum_cost_micros=Sum("cost_micros"))
    return list(dearest.order_by("-sum_cost_micros", *keys).values_list(*keys)[:most])


def _any_of(keys: tuple[str, ...], values: list[tuple[Any, ...]]) -> Q:
    found = Q(pk=None)
    for value in values:
        found |= Q(**dict(zip(keys, value, strict=True)))
    return found


def chart_lines(question: Question, lines: list[Line]) -> dict[tuple[str, ...], list[int]]:
    """Micro-dollars a day for each of these lines, days in order, zeros where nothing was."""
    keys = KEYS[question.by]
    places = {day: place for place, day in enumerate(question.days)}
    if question.by == "day":
        found: dict[tuple[str, ...], list[int]] = {("Cost",): [0] * len(places)}
        for row in _rows(question).values("day").annotate(micros=Sum("cost_micros")):
            found["Cost",][places[row["day"]]] = int(row["micros"])
        return found
    found = {line.key: [0] * len(places) for line in lines if line.key}
    rows = _rows(question, scoped=question.by == "scope").filter(_any_of(keys, list(found)))
    for row in rows.values("day", *keys).annotate(micros=Sum("cost_micros")):
        series = found.get(tuple(str(row[key]) for key in keys))
        if series is not None:
            series[places[row["day"]]] = int(row["micros"])
    return found


def list_unpriced(days: int = DAYS) -> list[tuple[str, str, int]]:
    """Models that were called without a known price of late: provider, name, calls."""
    since = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days - 1)
    rows = AgentDay.objects.filter(day__gte=since, unpriced__gt=0).values("provider", "model")
    counted = rows.annotate(count=Sum(F("unpriced"))).order_by("-count", "provider", "model")
    return [(row["provider"], row["model"], int(row["count"])) for row in counted[:MOST_ROWS]]
