"""How figures, times and rows are worded on the operators' pages."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from sessions_app.metered import Metered


def show_money(micros: int | None) -> str:
    """Micro-dollars as dollars; an unknown price is never shown as zero."""
    return "unknown" if micros is None else f"${micros / 1_000_000:,.6f}"


def show_sum(micros: int | None) -> str:
    """The same where there is little room: to the cent from a dollar on."""
    if micros is None or micros < 1_000_000:
        return show_money(micros)
    return f"${micros / 1_000_000:,.2f}"


def show_cost(row: Any) -> str:
    """The cost of a session or a run."""
    if row.cost_known:
        return show_money(row.cost_micros)
    return f"unknown, {show_money(row.cost_micros)} of it known" if row.cost_micros else "unknown"


def show_tokens(row: Metered) -> str:
    """All tokens of a row."""
    return f"{row.metered.total:,}"


def show_ms(ms: int | None) -> str:
    """A duration."""
    if ms is None:
        return "-"
    return f"{ms:,} ms" if ms < 10_000 else f"{ms / 1000:,.1f} s"


def show_span(start: dt.datetime, end: dt.datetime | None) -> str:
    """The time between two moments."""
    return "-" if end is None else show_ms((end - start) // dt.timedelta(milliseconds=1))


def show_time(moment: dt.datetime | None) -> str:
    """A moment to the second."""
    return "-" if moment is None else date_format(localtime(moment), "Y-m-d H:i:s")


def link(model: type[Model], pk: int | str, text: str | None = None) -> SafeString:
    """A link to a row's page."""
    label = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return format_html(
        '<a class="ag-link" href="{}">{}</a>', reverse(label, args=[quote(pk)]), text or pk
    )


def to_text(value: Any) -> str:
    """A JSON value to read."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_json(value: Any) -> SafeString:
    """The same in a box."""
    return format_html('<pre class="ag-pre">{}</pre>', to_text(value))
