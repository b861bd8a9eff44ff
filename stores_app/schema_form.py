"""A store's schema as fields of a form, and what was typed into them as a payload.

Law: nothing is judged here: what cannot be read goes to the store's validation as it was typed,
so that staff are told what a tool would be told. Values nobody touched stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from unfold.widgets import (  # type: ignore[import-untyped]  # it has no types
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from agentsite.manifest.stores import FieldSpec, StoreSpec

PREFIX = "payload."
EMPTY = ("", "(empty)")
Typed = Mapping[str, Any]


def build_fields(spec: StoreSpec) -> dict[str, forms.Field]:
    """A field of a form for each value of the schema that is no object, by its path."""
    keys = spec.entity.key_fields
    return {
        name: _build_field(name.removeprefix(PREFIX), field, alone=name[len(PREFIX) :] in keys)
        for name, field in _leaves(spec.entity.fields, PREFIX)
    }


def show_values(spec: StoreSpec, payload: Mapping[str, Any]) -> dict[str, str]:
    """What the fields show of a payload."""
    shown = {}
    for name, field in _leaves(spec.entity.fields, PREFIX):
        value: Any = payload
        for step in name.removeprefix(PREFIX).split("."):
            value = value.get(step) if isinstance(value, dict) else None
        shown[name] = _show(field, value)
    return shown


def compose(spec: StoreSpec, typed: Typed, old: Mapping[str, Any] | None) -> dict[str, Any]:
    """The payload that was typed; `old` is what the form was filled with."""
    before = None if old is None else show_values(spec, old)
    return _compose(spec.entity.fields, PREFIX, typed, before, old)


def find_field(spec: StoreSpec, path: str) -> str | None:
    """The field of the form at which a problem is told; None: at the whole form."""
    wanted = PREFIX + path.split("[")[0]
    for name, _ in _leaves(spec.entity.fields, PREFIX):
        if name == wanted or name.startswith(f"{wanted}."):
            return name
    return None


def _leaves(fields: Mapping[str, FieldSpec], path: str) -> Iterator[tuple[str, FieldSpec]]:
    for name, field in fields.items():
        if field.type == "object":
            yield from _leaves(field.fields or {}, f"{path}{name}.")
        else:
            yield path + name, field


def _build_field(label: str, field: FieldSpec, *, alone: bool) -> forms.Field:
    choices = None
    if field.type == "enum":
        choices = [(value, value) for value in field.values or ()]
    elif field.type == "boolean":
        choices = [("true", "true"), ("false", "false")]
    told = ". ".join(filter(None, (field.description.rstrip("."), _explain(field))))
    common: dict[str, Any] = {"required": False, "label": label, "help_text": told}
    if choices is not None:  # a text, so that the store's validation alone judges it
        widget = UnfoldAdminSelectWidget(choices=[EMPTY, *choices])
    elif field.type == "array" or (field.type == "string" and not alone):
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 4 if field.type == "array" else 2})
    else:
        widget = UnfoldAdminTextInputWidget()
    return forms.CharField(strip=False, widget=widget, **common)


def _explain(field: FieldSpec) -> str:
    match field.type:
        case "array":
            said = "A list, as JSON"
        case "datetime":
            said = "ISO 8601, such as 2026-03-06T14:00:00Z"
        case "ref":
            said = f"The key of a document of {field.store}"
        case "number":
            bounds = (("at least", field.min), ("at most", field.max))
            said = ", ".join(f"{word} {value:,.15g}" for word, value in bounds if value is not None)
        case _:
            said = ""
    return said if not field.nullable else f"{said}. May be empty".removeprefix(". ")


def _show(field: FieldSpec, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and field.type != "array":
        return value
    return json.dumps(value, ensure_ascii=False)


def _compose(
    fields: Mapping[str, FieldSpec],
    path: str,
    typed: Typed,
    before: Mapping[str, str] | None,
    old: Mapping[str, Any] | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in fields.items():
        where = path + name
        value = (old or {}).get(name)
        names = [leaf for leaf, _ in _leaves({name: field}, path)]
        if before is not None and all(_same(typed.get(n), before[n]) for n in names):
            if old is not None and name in old:
                found[name] = value
        elif field.type != "object":
            found[name] = _read(field, _plain(typed.get(where)))
        elif field.nullable and not any(typed.get(each) for each in names):
            found[name] = None
        else:
            inner = value if isinstance(value, dict) else None
            found[name] = _compose(field.fields or {}, f"{where}.", typed, before, inner)
    return found


def _read(field: FieldSpec, text: str) -> Any:
    if text == "":
        return "" if field.type in ("string", "ref") and not field.nullable else None
    if field.type in ("number", "boolean", "array"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _plain(text: Any) -> str:
    """Without the line ends of forms."""
    return str(text or "").replace("\r\n", "\n")


def _same(typed: Any, shown: str) -> bool:
    return _plain(typed) == _plain(shown)
