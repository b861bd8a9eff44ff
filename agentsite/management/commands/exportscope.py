"""`manage.py exportscope SCOPE`: everything of one scope as one JSON document."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agentsite.management.partitions import Teller, add_partition, find_agent
from agentsite.rows.tenants import export_partition


class Command(BaseCommand):
    """Writes it to standard output or into a file."""

    help = "Write everything that belongs to a scope as JSON. Credentials are not in it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Which partition, and where to."""
        add_partition(parser)
        parser.add_argument("--out", type=Path, help="a file; default: standard output")

    def handle(self, *args: Any, scope: str, agent: str | None, **options: Any) -> None:
        """Write piece by piece."""
        name = find_agent(agent, scope)
        Teller("exportscope", name, scope).tell("export")
        pieces = export_partition(name, scope)
        out: Path | None = options["out"]
        if out is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece())
            sys.stdout.buffer.flush()
            return
        with out.open("wb") as file:
            for piece in pieces:
                file.write(piece())
