"""Attaching to the embedded server: start it, or join the one that runs.

Law: whoever is attached holds a shared lock for its life; the watchdog stops the server when
the last one is gone, however it went.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from agentsite.embedded.binaries import ENVIRONMENT, Binaries, find_binaries
from agentsite.embedded.cluster import (
    Cluster,
    check_version,
    make_cluster,
    read_cluster,
    server_command,
)
from agentsite.embedded.identity import Identity, choose_identity, prepare_folder
from agentsite.embedded.layout import SOCKET_FILE, Files, Watch, socket_directory
from agentsite.embedded.locks import PAUSE, locked, open_lock, try_lock, wait_lock
from agentsite.embedded.problems import EmbeddedError, explain, explain_failure

LARGEST_LOG = 10 * 1024 * 1024
SOURCE_ROOT = Path(__file__).resolve().parent.parent.parent


class Attachment:
    """A hold on the running server; `host` is its socket's folder, user and database `postgres`."""

    def __init__(self, files: Files, holder: int, host: Path) -> None:
        self.host = host
        self._files = files
        self._holder: int | None = holder

    def release(self, wait: float = 5.0) -> None:
        """Let go. The last one to do so stops the server and waits for that, `wait` s at most."""
        if self._holder is None:
            return
        os.close(self._holder)
        self._holder = None
        with locked(self._files.start, wait) as start:
            holders = open_lock(self._files.holders)
            last = start is not None and try_lock(holders)
            if last:
                self._files.stop_now.touch()
            os.close(holders)
        if last:
            server = open_lock(self._files.server)
            wait_lock(server, wait, fcntl.LOCK_SH)
            os.close(server)


def attach(
    base: Path,
    *,
    binaries: Binaries | None = None,
    namespaces: bool | None = None,
    linger: float = 3.0,
    patience: float = 60.0,
) -> Attachment:
    """Join the server of the cluster in `base`; start it, and make the cluster, where needed.

    `namespaces` tells root whether user namespaces may be used (None: try). The server stays
    `linger` seconds after its last user was killed. Raises EmbeddedError within `patience`.
    """
    base = base.resolve()
    files = Files(base)
    try:
        _prepare_base(base)
        with locked(files.start, patience) as start:
            if start is None:
                raise EmbeddedError(
                    f"Another process has been starting the database in {base} for "
                    f"{patience:.0f} s. See {files.log}."
                )
            return _join(files, start, binaries or find_binaries(), namespaces, linger, patience)
    except OSError as problem:
        raise explain(problem, base) from problem


def _prepare_base(base: Path) -> None:
    # Root's server may be another user, who must be able to pass through.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    base.mkdir(mode=mode, parents=True, exist_ok=True)
    owner = base.stat().st_uid
    if owner != os.geteuid():
        raise EmbeddedError(
            f"The database folder {base} belongs to user {owner}, and you are user "
            f"{os.geteuid()}. Run as its owner, or set AGENTSITE_DATA_DIR to a folder of your own."
        )


def _join(
    files: Files,
    start: int,
    binaries: Binaries,
    namespaces: bool | None,
    linger: float,
    patience: float,
) -> Attachment:
    host = socket_directory(files.base, os.geteuid())
    cluster = read_cluster(files)
    identity = choose_identity(os.geteuid(), namespaces, cluster.mode if cluster else None)
    holder = open_lock(files.holders)
    try:
        fcntl.flock(holder, fcntl.LOCK_SH)
        files.stop_now.unlink(missing_ok=True)
        cluster = cluster or make_cluster(files, start, binaries, identity)
        check_version(cluster, binaries)
        if host != files.base:
            prepare_folder(host, identity)
        _start_or_find(files, cluster, binaries, identity, host, linger, patience)
    except BaseException:
        os.close(holder)
        raise
    return Attachment(files, holder, host)


def _start_or_find(
    files: Files, cluster: Cluster, binaries: Binaries, identity: Identity,
    host: Path, linger: float, patience: float,
) -> None:  # fmt: skip
    until = time.monotonic() + patience
    tries = 0
    while time.monotonic() < until:
        server = open_lock(files.server)
        try:
            if try_lock(server):
                if tries:
                    break
                tries += 1
                _remove_leftovers(cluster, host)
                command = server_command(cluster, binaries, identity, host)
                _start_watchdog(files, identity, command, server, linger)
        finally:
            os.close(server)
        if _is_ready(cluster, host):
            return
        time.sleep(PAUSE)
    said = files.log.read_text(errors="replace")[-4000:] if files.log.exists() else ""
    raise explain_failure("The database did not start", said, files.log, files.base)


def _remove_leftovers(cluster: Cluster, host: Path) -> None:
    """Files of a killed server, which a process that now has its number would make believable.

    Only while `server.lock` is ours: then no server and no watchdog of this cluster lives.
    """
    for file in (
        Path(cluster.data) / "postmaster.pid",
        host / SOCKET_FILE,
        host / f"{SOCKET_FILE}.lock",
    ):
        file.unlink(missing_ok=True)


def _start_watchdog(
    files: Files, identity: Identity, command: list[str], server: int, linger: float
) -> None:
    if files.log.exists() and files.log.stat().st_size > LARGEST_LOG:
        files.log.replace(files.log.with_suffix(".log.1"))
    files.log.touch(mode=0o600)
    watch = Watch(str(files.base), command, server, linger, identity.uid, identity.gid)
    with files.watchdog_log.open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "agentsite.embedded.watchdog", msgspec.json.encode(watch)],
            cwd=SOURCE_ROOT, env=ENVIRONMENT, pass_fds=(server,), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True,
        )  # fmt: skip


def _is_ready(cluster: Cluster, host: Path) -> bool:
    """Whether the server says so and answers."""
    try:
        state = (Path(cluster.data) / "postmaster.pid").read_text().splitlines()
        if len(state) < 8 or state[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(host / SOCKET_FILE))
    except OSError:
        return False
    return True
