"""Known secrets never leave: what a process learns of them is taken out of its log lines, too.

Events, rows and requests to providers are cleaned with each agent's own `Redactor`.
Law: what one tenant has saved changes another's log lines at most, never its data or answers.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache

from django.conf import settings

from agentsite.engine.redaction import OPENING, SHORTEST, Redactor, spell
from agentsite.rows.secrets import Sealed
from sessions_app.scopes import open_all

REMEMBERED_OF_SCOPES = 256


class LogRedaction(logging.Filter):
    """Takes known secrets out of every log line of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: frozenset[str] = frozenset()
        self._redactor = Redactor(())
        self._of_scopes: OrderedDict[str, frozenset[str]] = OrderedDict()
        """Secrets with the openings of their forms."""
        self._by_opening: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def learn(self, secrets: Iterable[str]) -> None:
        """Further secrets to take out from now on; those of older versions stay known."""
        known = self._secrets | frozenset(secrets)
        if known != self._secrets:
            self._secrets = known
            self._redactor = Redactor(known)

    def learn_of_scope(self, secrets: Iterable[str]) -> None:
        """Secrets that are in use; the last few hundred of all scopes stay known."""
        for secret in secrets:
            if len(secret) < SHORTEST:
                continue
            new = secret not in self._of_scopes
            openings = frozenset(form[:OPENING] for form in spell(secret)) if new else frozenset()
            with self._lock:
                if new:
                    self._of_scopes[secret] = openings
                    for opening in openings:
                        self._by_opening.setdefault(opening, set()).add(secret)
                if secret in self._of_scopes:
                    self._of_scopes.move_to_end(secret)
                while len(self._of_scopes) > REMEMBERED_OF_SCOPES:
                    self._forget(*self._of_scopes.popitem(last=False))

    def _forget(self, secret: str, openings: frozenset[str]) -> None:
        for opening in openings:
            left = self._by_opening[opening]
            left.discard(secret)
            if not left:
                del self._by_opening[opening]

    @property
    def redactor(self) -> Redactor:
        """Of what this server and its agents know, without any scope's secrets."""
        return self._redactor

    def text(self, text: str) -> str:
        """A line without any secret that is known."""
        text = self._redactor.text(text)
        if not self._by_opening:
            return text
        # Texts are cut into pieces, not patterns made of secrets: those change with each request.
        pieces = {text[place : place + OPENING] for place in range(len(text) - OPENING + 1)}
        with self._lock:
            met = {s for opening in pieces & self._by_opening.keys()
                   for s in self._by_opening[opening]}  # fmt: skip
        return Redactor(met).text(text) if met else text

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record where it holds a secret; never drops one."""
        if not (self._redactor or self._by_opening):
            return True
        message = record.getMessage()
        clean = self.text(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.text(record.exc_text)
        return True


def server_secrets() -> frozenset[str]:
    """The server's own keys, and its passwords for database and mail."""
    keys = {settings.SECRET_KEY, *settings.AGENT_SECRET_KEYS}
    passwords = {settings.DATABASES["default"].get("PASSWORD", ""), settings.EMAIL_HOST_PASSWORD}
    return frozenset(keys | passwords) - {""}


LOGS = LogRedaction()
"""Of this process; `site` hangs it into the root handlers."""

CALLERS: ContextVar[tuple[Sealed, ...]] = ContextVar("callers_secrets", default=())
"""What the scope of this request's caller has saved."""


def redactor_of(sealed: Iterable[Sealed]) -> Redactor:
    """Of secrets that a scope has saved."""
    return _redactor_of(tuple(each.token for each in sealed))


@lru_cache(maxsize=256)
def _redactor_of(tokens: tuple[bytes, ...]) -> Redactor:
    return Redactor(open_all(map(Sealed, tokens)))
