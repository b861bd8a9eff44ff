"""What keeps the embedded server from running, said to the person who started it."""

from __future__ import annotations

import errno
import re
from pathlib import Path

OTHER_WAYS = "Or set DATABASE_URL to a PostgreSQL server of your own."
LINE_START = re.compile(r"^\d{4}-\S+ \S+ \S+ \[\d+\] ")


class EmbeddedError(Exception):
    """The embedded server cannot serve; the text says why and what to do."""


def explain(problem: OSError, where: Path) -> EmbeddedError:
    """The sentence for a file that could not be made or written."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return disk_is_full(where)
    if problem.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return EmbeddedError(
            f"{problem.filename or where} cannot be written. Set AGENTSITE_DATA_DIR to a folder "
            f"that can. {OTHER_WAYS}"
        )
    return EmbeddedError(
        f"The database folder {where} is not usable: {problem}. Set AGENTSITE_DATA_DIR to another."
    )


def disk_is_full(where: Path) -> EmbeddedError:
    """No room for the database."""
    return EmbeddedError(
        f"The disk that holds {where} is full. Free some space (the database starts with about "
        "80 MB) and start again: nothing that was stored is lost."
    )


def explain_failure(what: str, output: str, log: Path, where: Path) -> EmbeddedError:
    """The sentence for a Postgres program that ended: its own last words, and where to read on."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return disk_is_full(where)
    lines = [LINE_START.sub("", line).strip() for line in output.splitlines()]
    last_words = " ".join([line for line in lines if line][-3:]) or "it said nothing"
    return EmbeddedError(f"{what}: {last_words} (see {log})")
