"""Where the embedded server keeps its files: pure path arithmetic, the same in every process.

Law: nothing here touches the disk, so that settings can name the socket before a server runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SOCKET_FILE = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 100
"""Unix socket paths end at 107 bytes; the lock file beside the socket needs five more."""

SHORT_ROOT = Path("/tmp")  # noqa: S108  a fixed short folder; its entry is checked before use


def socket_directory(base: Path, uid: int) -> Path:
    """The folder of the server's socket for the cluster in `base`, used by user `uid`.

    It is `base` itself, except where that cannot work: for a path too long for a socket,
    and for root, whose server may have to run as another user that cannot enter `base`.
    """
    fits = len(str(base / SOCKET_FILE).encode()) < LONGEST_SOCKET_PATH
    if fits and uid != 0:
        return base
    return SHORT_ROOT / f"agentsite-{uid}-{fingerprint(base)}"


def fingerprint(base: Path) -> str:
    """Twelve hex digits that tell one cluster's folder from another's."""
    return hashlib.sha256(str(base).encode()).hexdigest()[:12]
