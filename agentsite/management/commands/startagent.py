"""`manage.py startagent NAME`: a small agent of your own, copied from the one that ships."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.manifest.loader import MANIFEST

TEMPLATE = Path(__file__).resolve().parents[2] / "default_agent"
OWN = ("__pycache__", "*.pyc", ".env", ".amodal")
"""What is not the template's: keys and credentials that somebody gave the agent here."""
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Command(BaseCommand):
    """Writes the folder and says what to do with it."""

    help = "Create an agent repository: a folder that validates and chats at once."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """A name, and optionally where."""
        parser.add_argument("name", help="in lower case, with dashes, as in billing-helper")
        parser.add_argument("--to", type=Path, help="folder to create; default: ./NAME")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        """Create the agent, or say why not."""
        if not NAME.fullmatch(name):
            raise CommandError("The name is lower case with dashes, as in billing-helper.")
        target: Path = (options["to"] or Path(name)).absolute()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CommandError(f"{target} exists already and is not an empty folder.")
        try:
            create_agent(target, name)
        except OSError as error:
            raise CommandError(f"{target} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"{target} is ready. Its README.md says what each file is for.\n")
        self.stdout.write(f"  check it:  python manage.py validate {target}")
        self.stdout.write(f"  serve it:  AGENT_DIR={target} python manage.py up")
        self.stdout.write(f"  talk:      python manage.py chat --url {find_url()}")


def create_agent(target: Path, name: str) -> None:
    """Copy the template to `target` and give it its name."""
    shutil.copytree(TEMPLATE, target, ignore=shutil.ignore_patterns(*OWN), dirs_exist_ok=True)
    path = target / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest |= {"name": name, "version": "0.1.0"}
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def find_url() -> str:
    """Return where `manage.py up` serves."""
    return f"http://127.0.0.1:{settings.PORT}"
