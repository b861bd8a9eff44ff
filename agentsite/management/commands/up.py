"""`manage.py up`: the one command. Database, tables, keys, the first sign-in, then the server."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.embedded import EmbeddedError, attach
from agentsite.embedded.cluster import SETTINGS
from agentsite.jobs.queue import in_database
from agentsite.jobs.transport import MOST_CONNECTIONS as QUEUE_CONNECTIONS
from agentsite.management.children import command_child
from agentsite.management.preparation import (
    apply_migrations,
    check_server,
    first_sign_in,
    make_queue,
)
from agentsite.management.serve import GRACE_IN_TERMINAL
from agentsite.management.supervisor import Supervisor
from agentsite.rows.units import close_pools
from agentsite.telemetry.metrics import shared_folder

KEPT_CONNECTIONS = 3
"""PostgreSQL keeps so many back for superusers who look after it (by default)."""
MOST_CONNECTIONS = int(SETTINGS["max_connections"]) - KEPT_CONNECTIONS
"""Of the embedded database's, for the processes here and the successor of one of them."""
BEAT_CONNECTIONS = 2
"""One for rows, one that holds the lock of the leader."""


class Command(BaseCommand):
    """Prepares everything and supervises the processes that serve."""

    help = "Prepare the database and start the server; Ctrl-C stops it."
    # All but that of the addresses, for which everything that serves would be imported here.
    requires_system_checks = ("admin", "agent", "files", "models", "security", "templates")

    def add_arguments(self, parser: CommandParser) -> None:
        """Options; `bootstrap` has already put the first three into the environment."""
        parser.add_argument("--production", action="store_true", help="AGENT_ENV=production")
        parser.add_argument("--host", help="the address to listen on, instead of HOST")
        parser.add_argument("--port", help="the port to listen on, instead of PORT")
        parser.add_argument("--web", type=int, default=1, help="how many web processes (1)")
        parser.add_argument(
            "--no-worker", action="store_true",
            help="leave out the worker and beat: celery -A agentsite.celery runs them elsewhere",
        )  # fmt: skip
        parser.add_argument("--no-beat", action="store_true", help="leave out beat, the scheduler")
        parser.add_argument(
            "--no-input", action="store_true", help="for service managers: print no sign-in link"
        )

    def handle(
        self, *args: Any, no_input: bool, web: int, no_worker: bool, no_beat: bool, **options: Any
    ) -> None:
        """Run until a signal; exit code 1 when it could not start."""
        background = [] if no_worker else ["worker"] if no_beat else ["worker", "beat"]
        check_count(web, background)
        listening = listen(settings.HOST, settings.PORT)
        with contextlib.ExitStack() as stack:
            stack.enter_context(shared_folder(settings.DATA_DIR / "metrics" / str(settings.PORT)))
            if settings.EMBEDDED:
                stack.callback(self._hold_database().release)
            token = self._prepare(sign_in=not no_input)
            children = [
                command_child(
                    f"web {number}" if web > 1 else "web", settings.ROOT,
                    "serve", "--socket", str(listening.fileno()),
                    descriptors=[listening.fileno()],
                )
                for number in range(1, web + 1)
            ]  # fmt: skip
            children += [command_child(name, settings.ROOT, name, late=True) for name in background]
            supervisor = Supervisor(children, lambda: self._announce(token), self.stderr.write)
            code = supervisor.run(settings.SHUTDOWN_GRACE_SECONDS, GRACE_IN_TERMINAL)
        if code:
            sys.exit(code)

    def _hold_database(self) -> Any:
        try:
            return attach(settings.EMBEDDED_BASE)
        except EmbeddedError as problem:
            raise CommandError(str(problem)) from None

    def _prepare(self, sign_in: bool) -> str | None:
        """Tables and the first operator; leaves no connection of this process behind."""
        check_server()
        try:
            apply_migrations()
            make_queue()
            return first_sign_in() if sign_in else None
        finally:
            close_pools()

    def _announce(self, token: str | None) -> None:
        shown = f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST
        site = f"http://{shown}:{settings.PORT}"
        lines = ["", "The agent is ready.", f"  Chat      {site}/", f"  Admin     {site}/admin/"]
        lines.append(f"  API       {site}/api/docs")
        if token is not None:
            lines.append(
                f"  Sign in   {site}/accounts/once/{token}   (works once, within the hour)"
            )
        if "none" in settings.AGENT_AUTH:
            lines.append(
                f"  Callers are not checked (AGENT_AUTH=none): only {settings.HOST} is served."
            )
        self.stdout.write("\n".join([*lines, "  Ctrl-C stops it.", ""]))
        self.stdout.flush()


def check_count(web: int, background: Sequence[str]) -> None:
    """Raises CommandError for a number of web processes that cannot work."""
    if web < 1:
        raise CommandError("--web takes a number of processes, 1 or more.")
    each = settings.DB_POOL_SIZE + 1  # the last one listens
    queue = QUEUE_CONNECTIONS if in_database() else 0
    others = {"worker": each + queue, "beat": BEAT_CONNECTIONS + queue}
    beside = sum(others[name] for name in background)
    # While all are renewed, there is one more of the kind that is just exchanged.
    beside += max(each, *(others[name] for name in background)) if background else each
    if settings.EMBEDDED and web * each + beside > MOST_CONNECTIONS:
        raise CommandError(
            f"{web} web processes would need {web * each} connections, what goes beside them"
            f" {beside}, and the embedded database has {MOST_CONNECTIONS} for all. Start at most"
            f" {(MOST_CONNECTIONS - beside) // each}, lower DB_POOL_SIZE, or set DATABASE_URL to a"
            " PostgreSQL server of your own."
        )


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that children may inherit; raises CommandError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as problem:
        listening.close()
        if problem.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} is already used on {host}, perhaps by another agent that is up. "
                "Stop it, or choose another port: python3 manage.py up --port 3848"
            ) from None
        raise CommandError(f"Cannot listen on {host}:{port}: {problem.strerror}.") from None
    return listening
