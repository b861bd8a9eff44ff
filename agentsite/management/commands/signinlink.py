"""`manage.py signinlink [user]`: a link that signs a member of staff in, once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.signin.models import SignInLink


class Command(BaseCommand):
    """Prints the link."""

    help = "Print a link that signs a member of staff in, once, within the hour."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """One optional name."""
        parser.add_argument("user", nargs="?", default="admin")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        """Print the link for `user`."""
        try:
            who = User.objects.get(username=user, is_staff=True, is_active=True)
        except User.DoesNotExist:
            raise CommandError(f"There is no active member of staff called {user}.") from None
        token = SignInLink.objects.issue(who)
        self.stdout.write(f"http://{settings.HOST}:{settings.PORT}/accounts/once/{token}")
