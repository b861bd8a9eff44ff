"""A store's schema as models read it: JSON schemas of documents, and words about stores.

Law: it describes only. What is accepted is decided by `stores_app.validation` alone.
"""

from __future__ import annotations

import json
from typing import Any

from agentsite.manifest.stores import FieldSpec, StoreSpec

JSON_TYPES = {"number": "number", "boolean": "boolean"}
IF_VERSION = "ifVersion"
"""Beside the fields of a document, unless one of them has that name."""


def document_schema(spec: StoreSpec) -> dict[str, Any]:
    """JSON schema of one document."""
    return _object(spec.entity.fields)


def _object(fields: dict[str, FieldSpec]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _field(field) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if not field.nullable],
        "additionalProperties": False,
    }


def _field(field: FieldSpec) -> dict[str, Any]:
    schema: dict[str, Any] = _by_type(field)
    if field.description:
        hint = schema.get("description")
        schema["description"] = f"{field.description} ({hint})" if hint else field.description
    if field.nullable:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _by_type(field: FieldSpec) -> dict[str, Any]:
    match field.type:
        case "object":
            return _object(field.fields or {})
        case "array":
            return {"type": "array", "items": _field(field.item) if field.item else {}}
        case "enum":
            return {"type": "string", "enum": list(field.values or ())}
        case "datetime":
            return {"type": "string", "description": "ISO 8601, such as 2026-03-06T14:00:00Z"}
        case "ref":
            return {"type": "string", "description": f"key of a document in store {field.store}"}
        case "string" | "number" | "boolean":
            pass
    bounds = {"minimum": field.min, "maximum": field.max}
    told = {name: value for name, value in bounds.items() if value is not None}
    return {"type": JSON_TYPES.get(field.type, "string"), **told}


def describe_store(spec: StoreSpec) -> str:
    """One line for the prompt: what it holds, its key, its fields."""
    fields = ", ".join(f"{name}: {_word(field)}" for name, field in spec.entity.fields.items())
    told = f" {spec.description.rstrip('.')}." if spec.description else ""
    shared = " Shared by all, read-only." if spec.shared else ""
    return (
        f"- **{spec.name}** ({spec.entity.name}):{told}{shared} Key `{spec.entity.key}`. {fields}"
    )


def _word(field: FieldSpec) -> str:
    word: str = field.type
    match field.type:
        case "enum":
            word = " | ".join(json.dumps(value, ensure_ascii=False) for value in field.values or ())
        case "array":
            word = f"list of {_word(field.item)}" if field.item else "list"
        case "ref":
            word = f"key of {field.store}"
        case "object":
            inner = (f"{name}: {_word(each)}" for name, each in (field.fields or {}).items())
            word = f"{{{', '.join(inner)}}}"
        case "string" | "number" | "boolean" | "datetime":
            pass
    return f"{word} or null" if field.nullable else word
