"""`manage.py worker`: a child of `up`; elsewhere it is `celery -A agentsite.celery worker`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agentsite.management.background import work


class Command(BaseCommand):
    """Works until a signal."""

    help = "The worker process; `manage.py up` starts it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """The process to live and die with, and where to say that it is ready."""
        for name in ("--parent", "--ready"):
            parser.add_argument(name, type=int, required=True)

    def handle(self, *args: Any, parent: int, ready: int, **options: Any) -> None:
        """Work, then hand over."""
        work(parent, ready)
