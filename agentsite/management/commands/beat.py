"""`manage.py beat`: a child of `up`; elsewhere it is `celery -A agentsite.celery beat`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agentsite.management.background import beat


class Command(BaseCommand):
    """Schedules until a signal."""

    help = "The scheduler process; `manage.py up` starts it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """The process to live and die with, and where to say that it is ready."""
        for name in ("--parent", "--ready"):
            parser.add_argument(name, type=int, required=True)

    def handle(self, *args: Any, parent: int, ready: int, **options: Any) -> None:
        """Schedule, then let another one lead."""
        beat(parent, ready)
