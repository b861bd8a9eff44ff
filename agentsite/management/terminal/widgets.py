"""Widgets as readable text: tables for rows, label and value for everything else.

Law: unknown widgets and unknown keys are shown, too; nothing is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Take out what a terminal would obey: escape sequences, direction marks."""
    return CONTROL.sub("", text.replace("\r\n", "\n"))


def draw_widget(widget: str, data: Any) -> Iterator[RenderableType]:
    """Yield what to print for a widget, its heading first."""
    heading = Text(f"[{clean(widget)}]", style="dim")
    if not isinstance(data, dict):
        yield heading
        yield Text(show_value(data))
        return
    rest = dict(data)
    title = rest.pop("title", None) or rest.pop("label", None)
    yield Text.assemble((f"[{clean(widget)}] ", "dim"), (show_value(title or ""), "bold"))
    if isinstance(rest.get("columns"), list) and isinstance(rest.get("rows"), list):
        yield draw_table(rest.pop("columns"), rest.pop("rows"))
    lists = {key: rest.pop(key) for key in list(rest) if is_table(rest[key])}
    lines = [(show_value(key), show_value(value)) for key, value in rest.items()]
    if lines:
        yield draw_pairs(lines)
    for key, rows in lists.items():
        if all(set(row) <= {"label", "value"} for row in rows):
            pairs = [(show_value(r.get("label")), show_value(r.get("value"))) for r in rows]
            yield draw_pairs(pairs)
            continue
        columns = list(dict.fromkeys(column for row in rows for column in row))
        if len(lists) > 1:
            yield Text(show_value(key), style="bold")
        yield draw_table(columns, rows)


def is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def draw_table(columns: list[Any], rows: list[Any]) -> Table:
    """Draw rows that are lists, or objects by the keys of the columns."""
    table = Table(header_style="bold", border_style="dim")
    keys = []
    for column in columns:
        described = column if isinstance(column, dict) else {"key": column}
        keys.append(described.get("key"))
        table.add_column(Text(show_value(described.get("label", described.get("key")))))
    for row in rows:
        cells = [row.get(key) for key in keys] if isinstance(row, dict) else list(row)
        table.add_row(*(Text(show_value(cell)) for cell in cells[: len(keys)]))
    return table


def draw_pairs(pairs: list[tuple[str, str]]) -> Table:
    """Draw labels with their values, without lines."""
    table = Table.grid(padding=(0, 2))
    for label, value in pairs:
        table.add_row(Text(label, style="dim"), Text(value))
    return table


def show_value(value: Any) -> str:
    """Write a JSON value for a person."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(show_value(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{show_value(k)}: {show_value(v)}" for k, v in value.items())
    return clean(str(value))
