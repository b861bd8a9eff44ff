"""From a bare Python to a running Django: environment, keys of a first start, the command.

Law: only the standard library is imported before the environment stands.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from importlib import reload
from pathlib import Path


def run(manage: Path, argv: list[str]) -> None:
    """Run one command of `manage.py`; never returns to a half-made environment."""
    command = argv[1] if len(argv) > 1 else ""
    if command == "up" and "--production" in argv:
        os.environ["AGENT_ENV"] = "production"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
    run_django(argv)


def run_django(argv: list[str]) -> None:
    """Hand over to Django."""
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        from agentsite import settings
    except ImproperlyConfigured as problem:
        sys.exit(str(problem))
    if not settings.PRODUCTION and make_secrets(settings.SECRETS_FILE):
        reload(settings)
    execute_from_command_line(argv)


def make_secrets(file: Path) -> bool:
    """Make the keys of a first start; False when they were there.

    Written whole or not at all: two first starts at once agree on one set of keys.
    """
    if file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "AGENT_SECRET_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(keys, out)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
