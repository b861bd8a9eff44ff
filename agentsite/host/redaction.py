"""Known secrets never leave: replaced by value in events, rows, logs and requests to providers.

Law: by value, not by name. A secret counts plain, base64-encoded (at any offset) and
URL-encoded, and as a part of any longer string. What is not known cannot be found.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

T = TypeVar("T")

REDACTED = "[REDACTED]"
SHORTEST = 6
"""Shorter values would blank out ordinary words."""
SHORTEST_ENCODED = 8


class Redactor:
    """Replaces the secrets of one agent."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SHORTEST for form in spell(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )

    def __bool__(self) -> bool:
        return self._pattern is not None

    def text(self, text: str) -> str:
        """The text without secrets."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, keys included; the same object when there were none."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(REDACTED, value)
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def struct(self, value: T, kind: Any = None) -> T:
        """A value of the engine (an event, a message, parts) without secrets."""
        if self._pattern is None or not self._pattern.search(_to_text(value)):
            return value
        found: T = msgspec.convert(self.value(msgspec.to_builtins(value)), kind or type(value))
        return found


def _to_text(value: Any) -> str:
    # JSON escapes could hide a secret that holds quotes or backslashes, hence no JSON here.
    return "\x00".join(_strings(msgspec.to_builtins(value)))


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def spell(secret: str) -> set[str]:
    """The forms in which a secret may turn up."""
    forms = {secret, quote(secret, safe=""), quote_plus(secret)}
    if len(secret) >= SHORTEST_ENCODED:
        forms |= _encode_base64(secret.encode())
    return forms


def _encode_base64(raw: bytes) -> set[str]:
    """The middle of a secret's base64 at each of the three offsets it can have inside a text."""
    found: set[str] = set()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\x00" * offset + raw).decode().rstrip("=")
            start = (0, 2, 3)[offset]  # characters that depend on what stands before
            whole = len(encoded) if (offset + len(raw)) % 3 == 0 else len(encoded) - 1
            found.add(encoded[start:whole])
    return found


class LogRedaction(logging.Filter):
    """Takes known secrets out of every log line of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: frozenset[str] = frozenset()
        self._redactor = Redactor(())

    def learn(self, secrets: Iterable[str]) -> None:
        """Further secrets to take out from now on; those of older versions stay known."""
        known = self._secrets | frozenset(secrets)
        if known != self._secrets:
            self._secrets = known
            self._redactor = Redactor(known)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record where it holds a secret; never drops one."""
        if not self._redactor:
            return True
        message = record.getMessage()
        clean = self._redactor.text(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor.text(record.exc_text)
        return True


LOGS = LogRedaction()
"""Of this process; `site` hangs it into the root handlers."""
