"""`manage.py verifyaudit`: is every entry of the audit log what it was, and is none missing?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.operations.audit import check_chain
from agentsite.operations.models import AuditEntry


class Command(BaseCommand):
    """Exits with 1 where the chain is broken."""

    help = "Check the chain of the audit log; --expect compares with an earlier head."

    def add_arguments(self, parser: CommandParser) -> None:
        """Entries cut off at the end show only against a head that was kept elsewhere."""
        parser.add_argument("--expect", help="a hash that an earlier check has printed")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, and say how many entries there are and what the newest hash is."""
        checked = check_chain()
        if checked.problem:
            raise CommandError(f"The audit log was changed: {checked.problem}.")
        expected = options["expect"]
        if expected and not AuditEntry.objects.filter(hash=expected).exists():
            raise CommandError("The audit log was cut: the expected entry is not in it any more.")
        self.stdout.write(f"{checked.count} entries, the chain is whole; head {checked.head}")
