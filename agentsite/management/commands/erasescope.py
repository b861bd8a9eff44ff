"""`manage.py erasescope SCOPE --yes`: delete everything of one scope, for good."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from agentsite.management.partitions import Teller, add_partition, find_agent
from agentsite.rows.tenants import StillWritten, erase_partition
from sessions_app.scopes import Scope, block


class Command(BaseCommand):
    """Prints what went."""

    help = "Delete everything that belongs to a scope, for good: export it before."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Which partition, and a word that makes sure."""
        add_partition(parser)
        parser.add_argument("--yes", action="store_true", help="really do it")

    def handle(self, *args: Any, scope: str, agent: str | None, yes: bool, **options: Any) -> None:
        """Block the scope, delete its rows, and the scope's own with them."""
        name = find_agent(agent, scope)
        if not yes:
            raise CommandError(
                f'This deletes everything of the scope "{scope}" of {name}, for good. '
                "Export it before (manage.py exportscope), then repeat this with --yes."
            )
        teller = Teller("erasescope", name, scope)
        block(Scope.objects.for_scope(scope).filter(agent=name))
        try:
            gone = erase_partition(name, scope)
        except (StillWritten, DatabaseError) as error:
            teller.tell("erasing_failed")
            raise CommandError(str(error)) from error
        teller.tell("deleted")
        for table, count in sorted(gone.items()):
            self.stdout.write(f"{count:>10,}  {table}")
        self.stdout.write("It is gone." if gone else "There was nothing of it.")
