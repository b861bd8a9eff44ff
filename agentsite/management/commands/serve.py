"""`manage.py serve`: the web process of `up`, on a socket that it inherits.

Law: it ends with its parent, and it holds the embedded database itself, so that the database
outlives the last answer.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from agentsite.embedded import attach
from agentsite.embedded.fate import die_with_parent
from agentsite.management.serve import serve


class Command(BaseCommand):
    """Serves until a signal."""

    help = "The web process; `manage.py up` starts it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Descriptors and the process to live and die with."""
        for name in ("--socket", "--parent", "--ready"):
            parser.add_argument(name, type=int, required=True)

    def handle(self, *args: Any, **given: Any) -> None:
        """Serve, then let the database go."""
        die_with_parent(signal.SIGINT, given["parent"])
        attachment = attach(settings.EMBEDDED_BASE) if settings.EMBEDDED else None
        code = serve(socket.socket(fileno=given["socket"]), given["ready"])
        if attachment is not None:
            attachment.release(wait=0)
        if code:
            sys.exit(code)
