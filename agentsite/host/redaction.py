"""Known secrets never leave: what a process learns of them is taken out of its log lines, too.

Events, rows and requests to providers are cleaned with each agent's own `Redactor`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable

from django.conf import settings

from agentsite.engine.redaction import Redactor

REMEMBERED_OF_SCOPES = 256


class LogRedaction(logging.Filter):
    """Takes known secrets out of every log line of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: frozenset[str] = frozenset()
        self._of_scopes: OrderedDict[str, None] = OrderedDict()
        self._redactor = Redactor(())

    def learn(self, secrets: Iterable[str]) -> None:
        """Further secrets to take out from now on; those of older versions stay known."""
        known = self._secrets | frozenset(secrets)
        if known != self._secrets:
            self._secrets = known
            self._redactor = Redactor((*known, *self._of_scopes))

    def learn_of_scope(self, secret: str) -> None:
        """A secret that was just used; the last few hundred of all scopes stay known."""
        if secret not in self._of_scopes:
            self._of_scopes[secret] = None
            while len(self._of_scopes) > REMEMBERED_OF_SCOPES:
                self._of_scopes.popitem(last=False)
            self._redactor = Redactor((*self._secrets, *self._of_scopes))
        self._of_scopes.move_to_end(secret)

    @property
    def redactor(self) -> Redactor:
        """Of all that is known to this process, whichever agent it belongs to."""
        return self._redactor

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


def server_secrets() -> frozenset[str]:
    """The server's own keys, and its passwords for database and mail."""
    keys = {settings.SECRET_KEY, *settings.AGENT_SECRET_KEYS}
    passwords = {settings.DATABASES["default"].get("PASSWORD", ""), settings.EMAIL_HOST_PASSWORD}
    return frozenset(keys | passwords) - {""}


LOGS = LogRedaction()
"""Of this process; `site` hangs it into the root handlers."""
