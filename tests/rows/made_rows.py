"""A row of any model, made without its app: for tests that ask something of every table."""

from __future__ import annotations

import itertools
from typing import Any

from django.apps import apps
from django.db import connection, models
from django.db.models.expressions import DatabaseDefault

from tests.servers import ROOT

NUMBERS = itertools.count(1)
VALUES: dict[str, Any] = {
    "boolean": False, "integer": 0, "smallint": 0, "bigint": 0, "double precision": 0.0,
    "timestamp with time zone": "2026-01-01T00:00:00Z", "jsonb": "{}", "json": "{}",
    "bytea": b"x", "text": "x", "numeric": 0, "date": "2026-01-01",
}  # fmt: skip


def our_models() -> list[type[models.Model]]:
    """Every model of this project, those that hold many-to-many pairs included."""
    ours = [app for app in apps.get_app_configs() if ROOT in _folders(app.path)]
    return [model for app in ours for model in app.get_models(include_auto_created=True)]


def _folders(path: str) -> list[Any]:
    parts = type(ROOT)(path)
    return [] if ".venv" in parts.parts else list(parts.parents)


def tenant_models() -> list[type[models.Model]]:
    """Those that carry a scope."""
    return [m for m in our_models() if any(f.column == "scope_id" for f in m._meta.concrete_fields)]


def without_checks() -> None:
    """Until the transaction ends no trigger and no foreign key of any table is looked at."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")


def insert(model: type[models.Model], scope_id: str) -> None:
    """Write a row of that scope; of everything else it holds as little as it may."""
    fields = {
        field.column: _value(field, scope_id)
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField)
        and not field.null
        and isinstance(field.get_default(), DatabaseDefault) is False
    }
    places = ", ".join(["%s"] * len(fields))
    names = ", ".join(f'"{name}"' for name in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ({places})',  # noqa: S608
            list(fields.values()),
        )


def _value(field: models.Field[Any, Any], scope_id: str) -> Any:
    if field.column == "scope_id":
        return scope_id
    if field.choices:
        return field.flatchoices[0][0]
    kind = str(field.db_type(connection)).split("(")[0]
    if kind == "varchar":
        return f"{next(NUMBERS)}"
    return next(NUMBERS) if kind in ("integer", "bigint") else VALUES[kind]
