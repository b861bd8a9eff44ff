"""From a bare Python to a running Django: the environment, the keys of a first start, a command.

Law: only the standard library is imported before the environment stands.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gc
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from importlib import reload
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

OLDEST_PYTHON = (3, 11)
WITHOUT_DATABASE = frozenset(
    {"", "check", "help", "version", "makemigrations", "diffsettings", "findstatic", "spectacular"}
    | {"up", "serve", "worker", "beat", "test", "validate", "startagent", "chat", "bench", "chaos"}
)
"""Commands that need no database, or that hold it themselves."""


def run(root: Path, argv: list[str]) -> None:
    """Run one command of `manage.py`, in the environment of the project in `root`."""
    command = argv[1] if len(argv) > 1 else ""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")
    enter_environment(root, argv, for_tests=command == "test")
    if command == "up":
        os.environ.update(settings_of_up(argv[2:]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
    run_django(argv, command)


def settings_of_up(options: list[str]) -> dict[str, str]:
    """The options of `up` that are settings, by their names in the environment."""
    found = {"AGENT_ENV": "production"} if "--production" in options else {}
    names = {"--host": "HOST", "--port": "PORT"}
    words = [word for option in options for word in option.split("=", 1)]
    for option, value in pairwise(words):
        if option in names:
            found[names[option]] = value
    return found


def run_django(argv: list[str], command: str) -> None:
    """Hand over to Django, holding the embedded database as long as the command runs."""
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from agentsite.embedded import EmbeddedError, attach

    try:
        from agentsite import settings

        if not settings.PRODUCTION and make_secrets(settings.SECRETS_FILE):
            reload(settings)
        gc.disable()  # a sixth of a start would go into looking through modules, which all stay
        django.setup()
        gc.enable()
        with contextlib.ExitStack() as stack:
            needed = command not in WITHOUT_DATABASE and not command.startswith("-")
            if settings.EMBEDDED and needed:
                stack.callback(attach(settings.EMBEDDED_BASE).release)
            execute_from_command_line(argv)
    except (ImproperlyConfigured, EmbeddedError) as problem:
        sys.exit(str(problem))


def make_secrets(file: Path) -> bool:
    """Make the keys of a first start; False when they were there.

    Written whole or not at all: two first starts at once agree on one set of keys.
    """
    if file.exists():
        return False
    # Others may pass through, as root's database runs as another user; each file is closed.
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    keys = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "AGENT_SECRET_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(keys, out)
        out.flush()
        os.fsync(out.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()
    return True


def enter_environment(root: Path, argv: list[str], for_tests: bool) -> None:
    """Make `.venv` where it is missing or old, and go on in it.

    Another virtual environment that has Django is used as it is.
    """
    own = root / ".venv"
    inside = Path(sys.prefix).resolve() == own.resolve()
    if not inside and sys.prefix != sys.base_prefix and find_spec("django"):
        return
    missing = locks_to_install(root, own, for_tests)
    if missing:
        with one_at_a_time(root):
            missing = locks_to_install(root, own, for_tests)
            if missing:
                install(own, missing)
    if missing or not inside:
        python = own / "bin" / "python"
        os.execv(python, [str(python), *argv])  # noqa: S606  our own interpreter


def locks_to_install(root: Path, own: Path, for_tests: bool) -> list[Path]:
    """The lock file whose content is not installed yet, if any.

    The tests' lock contains everything, so that its installation counts for both.
    """
    lock = root / ("requirements-dev.lock" if for_tests else "requirements.lock")
    return [] if stamp(own, lock).exists() else [lock]


def stamp(own: Path, lock: Path) -> Path:
    """The file in the environment that says that exactly this lock file is installed."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    return own / f"{lock.stem}-{digest}.installed"


def install(own: Path, locks: list[Path]) -> None:
    """Make the environment and install the lock file, every archive checked by its hash."""
    inside = Path(sys.prefix).resolve() == own.resolve()
    outer = str(getattr(sys, "_base_executable", "python3")) if inside else sys.executable
    say(f"Preparing {own} (once; a minute or two) ...")
    if not (own / "bin" / "python").exists():
        # Without ensurepip, which many systems leave out: the outer pip installs into it.
        call([outer, "-m", "venv", "--without-pip", str(own)], "The environment cannot be made")
    for lock in locks:
        call(
            [outer, "-m", "pip", "--python", str(own / "bin" / "python"), "install", "--quiet",
             "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes",
             "-r", str(lock)],
            "The packages could not be installed",
        )  # fmt: skip
        stamp(own, lock).touch()
        if lock.stem == "requirements-dev":
            stamp(own, lock.with_name("requirements.lock")).touch()


def call(command: list[str], failure: str) -> None:
    """Run a program whose output the user may see; stop with a sentence when it fails."""
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(
            f"{failure}: the reason is above. It needs Python 3.11 with venv and pip "
            "(Debian: apt-get install python3-venv python3-pip) and a package index or mirror."
        )


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Keep two first starts from installing into each other."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def say(text: str) -> None:
    """A line for the person at the terminal, before Django is there to write it."""
    sys.stderr.write(text + "\n")
