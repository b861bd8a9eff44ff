"""`manage.py validate [folder]`: every problem of an agent repository, before a server meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.manifest.bundle import Bundle
from agentsite.manifest.env import read_environ
from agentsite.manifest.loader import MANIFEST, load
from agentsite.manifest.problems import ManifestError
from agentsite.tools.custom import check


class Command(BaseCommand):
    """Prints problems and warnings; exit status 1 when there is a problem."""

    help = "Check an agent repository (default: AGENT_DIR, or every agent of AGENTS_DIR)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """The folder, and which rules apply."""
        parser.add_argument("folder", nargs="?", type=Path, help="folder with an amodal.json")
        parser.add_argument(
            "--production", action="store_true", help="check as a production server would"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check each folder and tell what was found."""
        production = options["production"] or settings.PRODUCTION
        results = [
            self.check_agent(folder, production=production)
            for folder in choose_folders(options["folder"])
        ]
        if not all(results):
            raise CommandError("The agent cannot be served as it is.")

    def check_agent(self, folder: Path, *, production: bool) -> bool:
        """Print what is wrong with one agent; returns whether it can be served."""
        self.stdout.write(self.style.MIGRATE_HEADING(str(folder)))
        try:
            bundle = load(folder, read_environ(), production=production)
        except ManifestError as error:
            for problem in error.problems:
                self.stdout.write(self.style.ERROR(f"  error    {problem}"))
            return False
        for warning in bundle.warnings:
            self.stdout.write(self.style.WARNING(f"  warning  {warning}"))
        faults = check(bundle)
        for tool, message in faults:
            self.stdout.write(self.style.ERROR(f"  error    tools/{tool}: {message}"))
        if bundle.notice:
            self.stdout.write(f"  note     {bundle.notice}")
        for name, address, is_signed in list_webhooks(bundle):
            self.stdout.write(f"  webhook  {name}: POST {address}")
            if not is_signed:
                text = "it takes unsigned calls; give it a webhookAuth"
                self.stdout.write(self.style.WARNING(f"  warning  automations/{name}: {text}"))
        self.stdout.write(f"  {describe(bundle)}")
        return not faults


def choose_folders(given: Path | None) -> list[Path]:
    """Return the folders to check: the given one, else what the server would serve."""
    if given is not None:
        return [given.resolve()]
    if settings.AGENTS_DIR is not None:
        found = sorted(path.parent for path in settings.AGENTS_DIR.glob(f"*/{MANIFEST}"))
        return found or [settings.AGENTS_DIR]
    return [settings.AGENT_DIR]


def list_webhooks(bundle: Bundle) -> list[tuple[str, str, bool]]:
    """Name and address of each automation that webhooks set off, and whether they are signed."""
    return [
        (each.name, bundle.webhook_address(each.name), each.spec.webhook_auth is not None)
        for each in bundle.automations
        if each.spec.kind == "webhook"
    ]


def describe(bundle: Bundle) -> str:
    """Sum an agent up in one line."""
    counts = {
        "skills": bundle.skills,
        "documents": bundle.knowledge,
        "tools": bundle.tools,
        "automations": bundle.automations,
        "scripts": bundle.scripts,
    }
    parts = ", ".join(f"{len(found)} {what}" for what, found in counts.items())
    return f"{bundle.name} {bundle.version} ({bundle.hash[:12]}): {bundle.model().label}, {parts}"
