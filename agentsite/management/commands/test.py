"""`manage.py test`: everything that must hold before a change lands.

With arguments they go to pytest and only pytest runs, for work on one thing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand

from agentsite.management.needs import explain_missing, install, system_needs


class Command(BaseCommand):
    """Checks the system's share, then runs every tool."""

    help = "Run every check: format, lint, types, layers, tests. Arguments go to pytest alone."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Take all arguments as pytest's; exit with 0 only when everything passed."""
        if argv[2:] in (["--help"], ["-h"]):
            self.stdout.write(self.help)
            return
        self.provide_needs()
        sys.exit(self.run_tools(argv[2:]))

    def provide_needs(self) -> None:
        """Stop with a list when the system lacks something; as root on CI install it."""
        missing = [need for need in system_needs() if not need.is_there()]
        if missing and settings.ON_CI and os.geteuid() == 0 and install(missing):
            missing = [need for need in missing if not need.is_there()]
        if missing:
            self.stderr.write(explain_missing(missing))
            sys.exit(2)

    def run_tools(self, pytest_arguments: list[str]) -> int:
        """Run the tools one after the other, all of them; 0 when every one is content."""
        workers = ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "worksteal"]
        tools = {
            "format": ["ruff", "format", "--check", "--quiet", "."],
            "lint": ["ruff", "check", "--quiet", "."],
            "types": ["mypy"],
            "layers": ["lint-imports"],
            "tests": ["pytest", "-q", *workers],
        }
        # Where Python is told to write no bytecode, every process would compile everything anew.
        os.environ.update(PYTHONDONTWRITEBYTECODE="")
        if pytest_arguments:
            tools = {"tests": ["pytest", *pytest_arguments]}
        failed = [name for name, command in tools.items() if not self.passes(name, command)]
        if failed:
            self.stderr.write(self.style.ERROR("Failed: " + ", ".join(failed)))
        return 1 if failed else 0

    def passes(self, name: str, command: list[str]) -> bool:
        """Run one tool of this environment and say how long it took."""
        self.stdout.write(self.style.MIGRATE_HEADING(f"== {name}"))
        self.stdout.flush()
        began = time.monotonic()
        program = Path(sys.executable).parent / command[0]
        ran = subprocess.run([program, *command[1:]], cwd=settings.ROOT, check=False)
        verdict = "ok" if ran.returncode == 0 else f"exit code {ran.returncode}"
        self.stdout.write(f"   {name}: {verdict} in {time.monotonic() - began:.0f} s")
        return ran.returncode == 0
