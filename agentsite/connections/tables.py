"""Restricted fields in answers whose keys do not name them: tables, and pairs of name and value.

Law: a cell counts that may stand under a restricted name, in rows and in columns; where a row
does not fit its header, all of it is withheld.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agentsite.connections.fieldnames import fold_name, fold_names

Hide = Callable[[str, Any], Any]
"""What is shown of a value that stands under this name: itself where nothing restricts it."""
PROBE = object()
"""Stands for a value when it is only asked whether a name is restricted."""
NAMING = fold_names("name key id label title path field column property attribute code")
FIELD_LIKE = fold_names(
    "field fieldName fieldId column columnName property propertyName attribute attributeName"
)
"""An object with one of these is about that field, whatever else stands in it."""
ROWS = fold_names("rows records results items data")
"""A list below one of these goes row by row."""
VALUES = fold_names(
    """
    value values val text content data raw display displayValue formatted formattedValue answer
    old new from to before after previous current oldValue newValue stringValue
    """
)


def is_hidden(name: str, hide: Hide) -> bool:
    """Whether anything of this name would be hidden."""
    return hide(name, PROBE) is not PROBE


def hide_in_object(item: Mapping[str, Any], hide: Hide) -> dict[str, Any]:
    """An object without what its headers, or its own name, say is restricted."""
    kept = _hide_pair(item, hide)
    for place, value in item.items():
        for header in _find_headers(value):
            if any(is_hidden(name, hide) for name in header):
                for key, inner in kept.items():
                    if key != place:
                        kept[key] = _hide_rows(inner, header, hide, key)
    return kept


def hide_in_list(items: list[Any], hide: Hide) -> list[Any]:
    """A list of lists, whose first may be the header of the others, or which may be pairs."""
    if not all(isinstance(row, list) for row in items) or not items:
        return items
    header = _read_header(items[0])
    if header and any(is_hidden(name, hide) for name in header):
        items = [items[0], *_hide_rows(items[1:], header, hide, "rows")]
    return [
        [row[0], hide(row[0], row[1])] if len(row) == 2 and isinstance(row[0], str) else row
        for row in items
    ]


def _hide_pair(item: Mapping[str, Any], hide: Hide) -> dict[str, Any]:
    kept = dict(item)
    for key, name in item.items():
        if fold_name(key) not in NAMING | FIELD_LIKE or not isinstance(name, str):
            continue
        about_it = fold_name(key) in FIELD_LIKE
        for other, value in kept.items():
            if other != key and (about_it or fold_name(other) in VALUES):
                kept[other] = hide(name, value)
    return kept


def _find_headers(value: Any) -> Iterator[list[str]]:
    """Lists of names in a value, or one level below: `columns`, `schema.fields`."""
    for each in (value, *(value.values() if isinstance(value, Mapping) else ())):
        if header := _read_header(each):
            yield header


def _read_header(value: Any) -> list[str]:
    """The names in a list of names, or of objects that have one; none for any other list."""
    if not isinstance(value, list) or not value:
        return []
    names = [_read_name(each) for each in value]
    return [name for name in names if name is not None] if None not in names else []


def _read_name(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        found = [v for k, v in value.items() if fold_name(k) in NAMING and isinstance(v, str)]
        return found[0] if found else None
    return None


def _hide_rows(value: Any, header: list[str], hide: Hide, key: str = "") -> Any:
    """A value without the cells below restricted names, however deep its rows stand."""
    if isinstance(value, Mapping):
        return {name: _hide_rows(inner, header, hide, name) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    if _is_row(value, header):
        return [hide(name, cell) for name, cell in zip(header, value, strict=True)]
    rows = [_hide_row(row, header, hide) for row in value]
    is_square = len(rows) == len(header) and all(isinstance(row, list) for row in rows)
    if is_square and fold_name(key) not in ROWS:  # they may as well be columns
        return [hide(name, row) for name, row in zip(header, rows, strict=True)]
    return rows


def _hide_row(row: Any, header: list[str], hide: Hide) -> Any:
    is_plain = isinstance(row, list) and not any(isinstance(cell, list | Mapping) for cell in row)
    if not is_plain or len(row) == len(header):
        return _hide_rows(row, header, hide)
    for name in header:  # nobody can say which cell is which
        if (shown := hide(name, row)) is not row:
            return shown
    return row


def _is_row(value: list[Any], header: list[str]) -> bool:
    def is_cell(cell: Any) -> bool:
        return not isinstance(cell, list) and not (isinstance(cell, Mapping) and len(cell) > 2)

    holds_rows = any(
        isinstance(inner, list) and len(inner) == len(header)
        for cell in value
        if isinstance(cell, Mapping)
        for inner in cell.values()
    )
    return len(value) == len(header) and all(map(is_cell, value)) and not holds_rows
