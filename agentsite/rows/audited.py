"""Admin pages whose changes stand in the audit log: who, what, before, after.

Law: what a row is told of survives it, so of tenants' tables only the names of changed fields
are told, unless the page says which may be (`told`); secrets never are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import models
from django.http import HttpRequest

from agentsite.rows.auditing import record
from agentsite.rows.secrets import SecretField

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    Base = ModelAdmin[Any]
else:
    Base = object

SECRETS = {"password", "key_hash", "token_hash"}
UNTOLD = "(not told)"
LONGEST = 300
KEPT = "_audited_rows"


class Audited(Base):
    """Mix in before `ModelAdmin`."""

    told: tuple[str, ...] | None = None
    """Fields whose values are told; None: all of a table that belongs to no tenant."""

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row; how it was is kept for the log."""
        found = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST":
            kept = request.__dict__.setdefault(KEPT, {})
            kept[found._meta.label, found.pk] = self._describe(found)
        return found

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Tell of a new row."""
        obj.refresh_from_db()
        described = self._describe(obj)
        self.audit(request, "added", obj, {}, _pick(described, described))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Tell of a change: what differs."""
        before = request.__dict__.get(KEPT, {}).get((obj._meta.label, obj.pk), {})
        obj.refresh_from_db()
        after = self._describe(obj)
        changed = {name for name in after if before.get(name) != after[name]}
        names = sorted(changed)
        if names:
            self.audit(request, "changed", obj, _pick(before, names), _pick(after, names))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        """Tell of rows that are about to be deleted."""
        rows = list(queryset)
        for row in rows:
            described = self._describe(row)
            self.audit(request, "deleted", row, _pick(described, described), {})
        return super().log_deletions(request, queryset)

    def audit(
        self,
        request: HttpRequest,
        verb: str,
        row: models.Model,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Write down what somebody did to a row; `before` and `after` are told as they are."""
        who = request.user.get_username()
        details = {"row": str(row)[:LONGEST], "before": before or {}, "after": after or {}}
        record(who, f"{row._meta.model_name}.{verb}", str(row.pk), details)

    def _describe(self, row: models.Model) -> dict[str, Any]:
        fields = row._meta.concrete_fields
        of_tenants = any(field.column == "scope_id" for field in fields)
        shown: dict[str, Any] = {}
        for field in fields:
            secret = isinstance(field, SecretField) or field.name in SECRETS
            told = not of_tenants if self.told is None else field.name in self.told
            value = field.value_from_object(row)
            shown[field.name] = _word(value) if told and not secret else _Untold(value)
        if not of_tenants:
            for many in row._meta.many_to_many:
                shown[many.name] = sorted(map(str, getattr(row, many.name).all()))
        return shown


def _word(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


class _Untold(NamedTuple):
    """A value that may be compared and not be told."""

    value: Any


def _pick(described: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    found = {name: described.get(name) for name in names}
    return {key: UNTOLD if isinstance(v, _Untold) else v for key, v in found.items()}
