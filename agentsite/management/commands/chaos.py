"""`manage.py chaos`: kill the servers while people talk, then prove that nothing was lost.

Law: exit code 0 only when every invariant held.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.management.chaos.options import Options
from agentsite.management.chaos.storm import rage


class Command(BaseCommand):
    """Starts everything afresh in a temporary folder; nothing of it stays."""

    help = "Kill servers and database under load and prove that no run is lost, doubled or stuck."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """How much, how long, and what stays."""
        parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
        parser.add_argument("--runs", type=int, default=100, help="messages to send (100)")
        parser.add_argument("--kills", type=int, default=20, help="processes to kill (20)")
        parser.add_argument("--processes", type=int, default=3, help="web processes (3)")
        parser.add_argument("--people", type=int, default=8, help="conversations at once (8)")
        parser.add_argument("--seconds", type=float, default=0, help="end the storm after this")
        parser.add_argument("--full", action="store_true", help="leases as a real server has them")
        parser.add_argument("--keep", action="store_true", help="leave the folder for looking")

    def handle(self, *args: Any, **given: Any) -> None:
        """Run the storm and judge it."""
        options = Options(**{name: given[name] for name in Options.__struct_fields__})
        if options.processes < 2 or options.runs < 1 or options.kills < 0 or options.people < 1:
            raise CommandError("It takes two processes, one message and one person at least.")
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="chaos-"))
            folder.chmod(0o711)  # root's database runs as another user
            if options.keep:
                self.stdout.write(f"Everything is kept in {folder}")
            else:
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            clean = asyncio.run(rage(settings.ROOT, folder, options, self.say))
        if not clean:
            self.say("Violated: see above.")
            sys.exit(1)
        self.say("Every invariant held.")

    def say(self, text: str) -> None:
        """A line that is seen at once, also in a pipe."""
        self.stdout.write(text)
        self.stdout.flush()
