"""Arguments of commands that are about one partition."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from agentsite.rows.auditing import record
from sessions_app.scopes import Scope


def add_partition(parser: CommandParser) -> None:
    """The scope, and the agent where that is not clear."""
    parser.add_argument("scope", help='the scope_id; "" for the empty scope')
    parser.add_argument("--agent", help="whose; needed where several agents served the scope")


def find_agent(agent: str | None, scope_id: str) -> str:
    """The agent that is meant. Raises `CommandError`."""
    if agent is not None:
        return agent
    rows = Scope.objects.for_scope(scope_id).order_by("agent")
    known = list(rows.values_list("agent", flat=True))
    if len(known) == 1:
        return str(known[0])
    if not known:
        raise CommandError(f'No agent has served the scope "{scope_id}". Name one with --agent.')
    raise CommandError(f"Name the agent with --agent, one of: {', '.join(known)}.")


class Teller:
    """Notes in the audit log what a command does with a whole scope; it may be gone by then."""

    def __init__(self, command: str, agent: str, scope_id: str) -> None:
        row = Scope.objects.for_scope(scope_id).filter(agent=agent).first()
        self._command = command
        self._named = f"{agent} / {scope_id or '(empty)'}"
        self._subject = self._named if row is None else str(row.pk)

    def tell(self, deed: str) -> None:
        """One entry, `scope.<deed>`."""
        record(self._command, f"scope.{deed}", self._subject, {"row": self._named})
