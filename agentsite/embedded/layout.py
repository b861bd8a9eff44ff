"""Where the embedded server keeps its files: pure path arithmetic, the same in every process.

Law: nothing here touches the disk, so that settings can name the socket before a server runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

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


class Files(msgspec.Struct, frozen=True):
    """The files in a cluster's folder.

    `start` is locked while somebody starts or stops the server, `holders` is shared by every
    process that uses it, `server` is held by the watchdog and the server themselves.
    """

    base: Path

    @property
    def start(self) -> Path:
        """Held by one process at a time."""
        return self.base / "start.lock"

    @property
    def holders(self) -> Path:
        """Held by all users of the server; the kernel drops the lock of a killed one."""
        return self.base / "holders.lock"

    @property
    def server(self) -> Path:
        """Held as long as a watchdog or a server lives."""
        return self.base / "server.lock"

    @property
    def stop_now(self) -> Path:
        """Left by the last user that went in good order: no need to wait for another."""
        return self.base / "stop.now"

    @property
    def made(self) -> Path:
        """Written when the cluster is complete: who made it and where its data are."""
        return self.base / "cluster.json"

    @property
    def log(self) -> Path:
        """What Postgres says."""
        return self.base / "postgres.log"

    @property
    def watchdog_log(self) -> Path:
        """What the watchdog says, which should be nothing."""
        return self.base / "watchdog.log"


class Watch(msgspec.Struct, frozen=True):
    """What one watchdog watches: `server` is the inherited descriptor of `server.lock`."""

    base: str
    command: list[str]
    server: int
    linger: float
    uid: int | None
    gid: int | None
