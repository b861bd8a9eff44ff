"""`manage.py createkey NAME`: a key for a caller, shown once."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions_app.api_keys import ApiKey, issue_key


class Command(BaseCommand):
    """Prints the key."""

    help = "Make an API key and print it; it is stored as a hash and cannot be shown again."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """What the key may do."""
        parser.add_argument("name", help="who or what calls with it")
        parser.add_argument("--role", choices=ApiKey.Role.values, default=ApiKey.Role.USER)
        parser.add_argument("--agent", action="append", default=[], help="repeat; default: all")
        parser.add_argument(
            "--scope", action="append", default=[], help="repeat; acme or acme:*; default: all"
        )
        parser.add_argument("--rate-limit", type=int, help="requests a minute; default: no limit")
        parser.add_argument("--days", type=float, help="days until it expires; default: never")

    def handle(self, *args: Any, **given: Any) -> None:
        """Make the key and print it."""
        if given["rate_limit"] is not None and given["rate_limit"] < 1:
            raise CommandError("--rate-limit must be at least 1.")
        if given["days"] is not None and given["days"] <= 0:
            raise CommandError("--days must be more than 0.")
        expires = given["days"] and dt.datetime.now(dt.UTC) + dt.timedelta(days=given["days"])
        key = ApiKey(
            name=given["name"],
            role=given["role"],
            agents=given["agent"],
            scopes=given["scope"],
            rate_limit=given["rate_limit"],
            expires_at=expires or None,
            created_by="createkey",
        )
        self.stdout.write(issue_key(key))
