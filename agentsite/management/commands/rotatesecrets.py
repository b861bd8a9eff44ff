"""`manage.py rotatesecrets`: encrypt stored secrets under the newest of AGENT_SECRET_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agentsite.rows.secrets import renew_all


class Command(BaseCommand):
    """Prints how many there were."""

    help = (
        "Encrypt all stored secrets under the first of AGENT_SECRET_KEYS. "
        "Run it after a key was put in front; then the old ones can go."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate. Fails when a secret cannot be read any more."""
        renewed, lost = renew_all()
        self.stdout.write(f"{renewed} secrets are under the newest key.")
        if lost:
            raise CommandError(
                f"{lost} secrets cannot be read with any of AGENT_SECRET_KEYS. Put the key that "
                "is missing at the end of the list and run this again, or have them given anew."
            )
