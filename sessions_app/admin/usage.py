"""Cost and usage: sums by scope, agent, model, purpose and day; one scope, several, CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, get_args

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import urlencode

from agentsite.rows.tenancy import one_moment
from sessions_app.admin.base import LookOnly, show_money
from sessions_app.costing import (
    KEYS,
    MOST_SCOPES,
    SUMS,
    By,
    Line,
    Question,
    add_up,
    chart_lines,
    islice_lines,
    list_lines,
    list_unpriced,
    read_question,
)
from sessions_app.models import UsageDay

MILLION = 1_000_000
SERIES = 6
"""Lines of a chart that have a colour of their own."""
COLOURS = ("#7c3aed", "#0891b2", "#ca8a04", "#db2777", "#16a34a", "#475569")
NAMES: dict[By, str] = {
    "day": "Day",
    "scope": "Scope",
    "agent": "Agent",
    "model": "Model",
    "purpose": "Purpose",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula."""


@admin.register(UsageDay)
class UsageAdmin(LookOnly):
    """Not a list of rows, but answers about them."""

    def get_urls(self) -> list[Any]:
        """The pages beside the list."""
        view = self.admin_site.admin_view
        return [
            path("scope/", view(self.scope_view), name="sessions_app_usageday_scope"),
            path("compare/", view(self.compare_view), name="sessions_app_usageday_compare"),
            path("csv/", view(self.csv_view), name="sessions_app_usageday_csv"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Cost in whole, divided by what is asked for."""
        question = read_question(request.GET, "model")
        return self._answer(request, question, "Cost and usage", extra_context or {})

    def scope_view(self, request: HttpRequest) -> HttpResponse:
        """One scope over time."""
        question = read_question(request.GET, "day")
        scope = (question.scopes or ("",))[0]
        question = Question(**{**_fields(question), "scopes": (scope,)})
        title = f"Cost of scope {scope or '(empty)'}"
        return self._answer(request, question, title, {}, ("model", "purpose", "agent"))

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        """Several scopes side by side."""
        question = read_question(request.GET, "scope")
        fields = {**_fields(question), "by": "scope", "scopes": question.scopes or ()}
        more = {"comparing": True, "most_scopes": MOST_SCOPES}
        return self._answer(request, Question(**fields), "Scopes compared", more)

    def csv_view(self, request: HttpRequest) -> HttpResponse:
        """The same lines, all of them."""
        self._check(request)
        question = read_question(request.GET, "scope")
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([*KEYS[question.by], *SUMS, "cost_usd"])
        for line in islice_lines(question):
            sums = [line.sums[name] for name in SUMS]
            writer.writerow([*map(_cell, line.key), *sums, f"{line.cost_micros / MILLION:.6f}"])
        name = f"cost-by-{question.by}-{question.start}-{question.end}.csv"
        response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _answer(
        self,
        request: HttpRequest,
        question: Question,
        title: str,
        more: dict[str, Any],
        parts: tuple[By, ...] = (),
    ) -> HttpResponse:
        self._check(request)
        with one_moment():  # or a call between two statements is in a sum and not in its rows
            context = {**self._read(question, parts), **more}
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "question": question,
            "scopes": question.scopes or (),
            "by_name": NAMES[question.by],
            "choices": [(by, NAMES[by]) for by in get_args(By)],
            "chart_options": json.dumps(OPTIONS),
            "csv": f"{reverse('admin:sessions_app_usageday_csv')}?{_query(question)}",
            **context,
        }
        return TemplateResponse(request, "admin/sessions_app/usage.html", context)

    def _read(self, question: Question, parts: tuple[By, ...]) -> dict[str, Any]:
        """All figures of a page."""
        lines = list_lines(question)
        return {
            "total": _figures(add_up(question)),
            "rows": [_row(question, line) for line in lines],
            "chart": _chart(question, lines),
            "unpriced": list_unpriced(),
            **({"parts": [_part(question, by) for by in parts]} if parts else {}),
        }


OPTIONS = {
    "animation": False,
    "maintainAspectRatio": False,
    "scales": {
        "x": {"stacked": True, "grid": {"display": False}},
        "y": {"stacked": True, "beginAtZero": True, "title": {"display": True, "text": "US $"}},
    },
    "plugins": {"legend": {"display": True, "position": "bottom"}},
}


def _fields(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in question.__struct_fields__}


def _query(question: Question, **other: Any) -> str:
    """The question as a query string, with what is said otherwise."""
    given: dict[str, Any] = {
        "by": question.by,
        "from": question.start.isoformat(),
        "until": question.end.isoformat(),
        "agent": question.agent,
        "model": question.model,
        "purpose": question.purpose,
        "scope": list(question.scopes or ()),
        **other,
    }
    return urlencode({key: value for key, value in given.items() if value}, doseq=True)


def _figures(line: Line) -> dict[str, str]:
    sums = line.sums
    fresh = sums["input"] + sums["cache_write"] + sums["cache_write_1h"]
    return {
        "cost": show_money(line.cost_micros),
        "calls": f"{sums['calls']:,}",
        "failed": f"{sums['failed']:,}",
        "unpriced": f"{sums['unpriced']:,}" if sums["unpriced"] else "",
        "input": f"{fresh:,}",
        "cached": f"{sums['cache_read']:,}",
        "output": f"{sums['output'] + sums['reasoning']:,}",
    }


def _label(by: By, key: tuple[str, ...]) -> str:
    if not key:
        return "others"
    if by == "scope":
        return f"{key[0]} / {key[1] or '(empty)'}"
    return "/".join(key)


def _row(question: Question, line: Line) -> dict[str, Any]:
    """A line with the way to what is behind it."""
    link = ""
    page = reverse("admin:sessions_app_usageday_changelist")
    match question.by, line.key:
        case "scope", (agent, scope):
            query = _query(question, by="day", agent=agent, scope=[scope])
            link = f"{reverse('admin:sessions_app_usageday_scope')}?{query or 'scope='}"
        case "day", (day,):
            link = f"{page}?{_query(question, by='model', until=day) + f'&from={day}'}"
        case "agent", (agent,):
            link = f"{page}?{_query(question, by='model', agent=agent)}"
        case "model", (provider, name):
            link = f"{page}?{_query(question, by='scope', model=f'{provider}/{name}')}"
        case "purpose", (purpose,):
            link = f"{page}?{_query(question, by='model', purpose=purpose)}"
        case _:
            pass
    return {"label": _label(question.by, line.key), "link": link, **_figures(line)}


def _part(question: Question, by: By) -> dict[str, Any]:
    asked = Question(**{**_fields(question), "by": by})
    return {"name": NAMES[by], "rows": [_row(asked, line) for line in list_lines(asked)]}


def _chart(question: Question, lines: list[Line]) -> str:
    """Dollars a day for unfold's chart: the dearest lines, and the rest as one."""
    every = chart_lines(Question(**{**_fields(question), "by": "day"}), [])[("Cost",)]
    series = [("Cost", every)]
    if question.by != "day":
        dearest = chart_lines(question, lines[: SERIES - 1])
        series = [(_label(question.by, key), values) for key, values in dearest.items()]
        shown = [sum(values) for values in zip(*dearest.values(), strict=True)] or [0] * len(every)
        rest = [whole - part for whole, part in zip(every, shown, strict=True)]
        if any(rest):
            series.append(("others", rest))
    datasets = [
        {
            "label": name,
            "data": [round(micros / MILLION, 6) for micros in values],
            "backgroundColor": COLOURS[place % len(COLOURS)],
            "borderColor": COLOURS[place % len(COLOURS)],
        }
        for place, (name, values) in enumerate(series)
    ]
    labels = [f"{day:%b %d}" for day in question.days]
    return json.dumps({"labels": labels, "datasets": datasets})


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
