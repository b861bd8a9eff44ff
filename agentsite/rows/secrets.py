"""Secrets in rows: encrypted under the first of `AGENT_SECRET_KEYS`, read with any of them.

Law: a stored secret comes back sealed. Only `open()` gives its text; no repr, no admin page,
no JSON and no log line does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

if TYPE_CHECKING:
    _BinaryField = models.BinaryField[Any, Any]
else:
    _BinaryField = models.BinaryField  # not a generic at run time


class SecretLost(Exception):
    """A stored secret was encrypted under a key that this server no longer has."""


class Sealed:
    """An encrypted text."""

    __slots__ = ("token",)

    def __init__(self, token: bytes) -> None:
        self.token = token

    @classmethod
    def of(cls, text: str) -> Sealed:
        """Encrypt `text` under the newest key."""
        return cls(_keys().encrypt(text.encode()))

    def open(self) -> str:
        """The text. Raises `SecretLost`."""
        try:
            return _keys().decrypt(self.token).decode()
        except InvalidToken:
            text = "A stored secret cannot be read: its key is no longer in AGENT_SECRET_KEYS."
            raise SecretLost(text) from None

    def renew(self) -> Sealed:
        """The same text under the newest key. Raises `SecretLost`."""
        try:
            return Sealed(_keys().rotate(self.token))
        except InvalidToken:
            text = "A stored secret cannot be read: its key is no longer in AGENT_SECRET_KEYS."
            raise SecretLost(text) from None

    def __repr__(self) -> str:
        return "Sealed(…)"


class SecretField(_BinaryField):
    """A column of sealed texts; a plain string that is assigned is sealed when it is written."""

    def get_prep_value(self, value: Any) -> Any:
        if value is None:
            return None
        sealed = value if isinstance(value, Sealed) else Sealed.of(value)
        return super().get_prep_value(sealed.token)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Sealed | None:
        """Still sealed."""
        return None if value is None else Sealed(bytes(value))


def renew_all() -> tuple[int, int]:
    """Encrypt every secret of every table under the newest key; how many were, and are lost."""
    renewed = lost = 0
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, SecretField):
                done, unread = _renew(model, field.attname)
                renewed, lost = renewed + done, lost + unread
    return renewed, lost


def _renew(model: type[models.Model], name: str) -> tuple[int, int]:
    renewed = lost = 0
    rows = model._base_manager.exclude(**{name: None}).order_by("pk").values_list("pk", name)
    for key, sealed in rows.iterator(chunk_size=500):
        try:
            fresh = sealed.renew()
        except SecretLost:
            lost += 1
            continue
        # Conditional: what was given anew meanwhile is under the newest key already.
        model._base_manager.filter(pk=key, **{name: sealed}).update(**{name: fresh})
        renewed += 1
    return renewed, lost


def _keys() -> MultiFernet:
    if not settings.AGENT_SECRET_KEYS:
        raise ImproperlyConfigured(
            "AGENT_SECRET_KEYS is not set: one or more Fernet keys, separated by commas, the "
            "newest first. `manage.py up` makes one on its first start in development."
        )
    return _ring(tuple(settings.AGENT_SECRET_KEYS))


@lru_cache(maxsize=4)
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
