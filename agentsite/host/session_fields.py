"""What callers may ask about sessions and change in them, as DRF serializers.

Law: strict types: a number is no string and "yes" is no boolean.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from sessions_app.models import Session

MAX_TAGS = 50


class Text(serializers.CharField):
    """A string, and nothing that could be turned into one."""

    def to_internal_value(self, data: Any) -> str:
        """The trimmed string."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        """The boolean itself."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Metadata(serializers.DictField):
    """Any JSON object; what no JSON column takes is refused."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object as it came."""
        found: dict[str, Any] = super().to_internal_value(data)
        if _has_nul(found):
            raise serializers.ValidationError("Null characters are not allowed.")
        return found


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


class SessionChange(serializers.Serializer[Any]):
    """The body of PUT and PATCH: what is absent stays."""

    title = Text(max_length=300, allow_blank=True, required=False)
    tags = serializers.ListField(child=Text(max_length=100), max_length=MAX_TAGS, required=False)
    metadata = Metadata(required=False)
    archived = Flag(
        required=False, help_text="Archived sessions do not age; a new message brings one back."
    )


class HistoryChange(serializers.Serializer[Any]):
    """What the reference client changes."""

    title = Text(max_length=300, allow_blank=True, required=False)
    tags = serializers.ListField(child=Text(max_length=100), max_length=MAX_TAGS, required=False)


class SessionQuery(serializers.Serializer[Any]):
    """The query of the list."""

    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.CharField(
        max_length=400, required=False, allow_blank=True, help_text="`nextCursor` of the last page."
    )
    status = serializers.ChoiceField(
        choices=Session.Status.values, required=False, allow_blank=True
    )
    automation = serializers.CharField(max_length=200, required=False, allow_blank=True)
    tag = serializers.CharField(max_length=100, required=False, allow_blank=True)
    q = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="A part of the title."
    )


class HistoryQuery(serializers.Serializer[Any]):
    """The query of the reference client's list."""

    tags = serializers.CharField(
        max_length=1000, required=False, allow_blank=True, help_text="Any of these, with commas."
    )


class StateQuery(serializers.Serializer[Any]):
    """The query of the snapshot."""

    since = serializers.IntegerField(
        min_value=0, max_value=2**62, default=0, help_text="Events with a greater number follow."
    )
