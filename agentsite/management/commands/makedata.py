"""`manage.py makedata`: a database as it is after a long life, to look at pages with."""

from __future__ import annotations

import time
from typing import Any, cast

import psycopg
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from agentsite.management.data.making import make_runs
from agentsite.rows.tenancy import acting_for_all
from sessions_app.models import Run


class Command(BaseCommand):
    """Makes runs of agents that nobody serves (`agent-0` and on), spread over thirty days."""

    help = "Fill an empty database with many runs, to measure and look at the admin's pages."

    def add_arguments(self, parser: CommandParser) -> None:
        """How much."""
        parser.add_argument("--runs", type=int, default=1_000_000)
        parser.add_argument("--events", type=int, default=10_000_000, help="of all runs together")

    def handle(self, *args: Any, **given: Any) -> None:
        """Make them, and tell how long it took."""
        began = time.monotonic()
        call_command("migrate", verbosity=0)  # an empty database may have no tables yet
        with acting_for_all("data to measure with"):
            if Run.objects.exists():
                raise CommandError(
                    "There are runs in this database. Make data in an empty one: it cannot be told "
                    "from real data afterwards."
                )
            connection.ensure_connection()
            raw = cast("psycopg.Connection[Any]", connection.connection)
            try:
                make_runs(raw, given["runs"], given["events"], self.stdout.write)
            except psycopg.errors.InsufficientPrivilege as error:
                raise CommandError(
                    "Only a superuser of the database may make data this fast: it switches "
                    "triggers off while it writes."
                ) from error
        self.stdout.write(f"done in {time.monotonic() - began:,.0f} s")
