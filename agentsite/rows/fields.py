"""Columns that every app may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from psycopg.types.json import Json

if TYPE_CHECKING:
    _JSONField = models.JSONField[Any, Any]
else:
    _JSONField = models.JSONField  # not a generic at run time


class VerbatimJSONField(_JSONField):
    """JSON that comes back with its keys in the order they had.

    `jsonb` sorts keys. What was sent to a provider must be sent again byte for byte, or
    its prompt cache is lost; so history lives in `json` columns. Never holds a bare string.
    """

    def db_type(self, connection: Any) -> str:
        return "json"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if value is None or hasattr(value, "as_sql") else Json(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """psycopg has decoded it."""
        return value
