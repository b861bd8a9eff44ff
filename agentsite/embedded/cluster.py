"""The data folder of a cluster: made once, whole or not at all, and checked on every start."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from agentsite.embedded.binaries import ENVIRONMENT, Binaries
from agentsite.embedded.identity import Identity, Mode, find_home, reach_binaries
from agentsite.embedded.layout import Files
from agentsite.embedded.problems import OTHER_WAYS, EmbeddedError, explain_failure

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Room for many processes with a pool each; an idle slot costs a few kilobytes.
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    # Answers were shown to somebody: what is committed is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Short units of work gain nothing from either, and containers have a small /dev/shm.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


class Cluster(msgspec.Struct, frozen=True):
    """A complete cluster: who made it, and where its data are."""

    mode: Mode
    data: str


def read_cluster(files: Files) -> Cluster | None:
    """The cluster in this folder, or None when none was ever completed."""
    if not files.made.exists():
        return None
    try:
        return msgspec.json.decode(files.made.read_bytes(), type=Cluster)
    except msgspec.DecodeError as problem:
        raise EmbeddedError(f"{files.made} is damaged ({problem}). Restore {files.base}.") from None


def make_cluster(files: Files, start: int, binaries: Binaries, identity: Identity) -> Cluster:
    """Run `initdb`; what a killed start left behind is removed first.

    `start` is the descriptor of the lock on starting: `initdb` keeps it as long as it runs, so
    that nobody clears the folder under one whose parent was killed.
    """
    home = find_home(files.base, identity)
    data = home / "data"
    shutil.rmtree(data, ignore_errors=True)
    programs = reach_binaries(binaries, identity, home)
    locale = ["--locale=C"]
    if programs.major >= 17:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    ran = subprocess.run(
        [*identity.prefix, programs.folder / "initdb", "-D", data, "-U", "postgres",
         "--auth=trust", "--encoding=UTF8", "--data-checksums", "--no-instructions", *locale],
        capture_output=True, text=True, env=ENVIRONMENT, cwd=home, check=False,
        pass_fds=(start,), **identity.run_as(),
    )  # fmt: skip
    if ran.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        files.log.write_text(ran.stdout + ran.stderr)
        raise explain_failure("The database could not be made", ran.stderr, files.log, files.base)
    cluster = Cluster(identity.mode, str(data))
    draft = files.made.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(cluster))
    draft.replace(files.made)
    return cluster


def check_version(cluster: Cluster, binaries: Binaries) -> None:
    """Refuse data that another major version wrote, before Postgres does in its own words."""
    file = Path(cluster.data) / "PG_VERSION"
    try:
        written = int(file.read_text().strip())
    except (OSError, ValueError):
        raise EmbeddedError(
            f"{file} cannot be read: the database folder is damaged or was partly removed. "
            "Restore it from a copy, or remove the whole folder to start empty."
        ) from None
    if written != binaries.major:
        raise EmbeddedError(
            f"The data in {cluster.data} were written by PostgreSQL {written}; installed is "
            f"{binaries.version}, which cannot read them. Copy them over with the old version: "
            f"pg_dump with PostgreSQL {written}, move the folder away, start again, then psql. "
            f"{OTHER_WAYS}"
        )


def server_command(
    cluster: Cluster, binaries: Binaries, identity: Identity, sockets: Path
) -> list[str]:
    """The command line of the server."""
    home = Path(cluster.data).parent
    programs = reach_binaries(binaries, identity, home)
    options = {**SETTINGS, "unix_socket_directories": str(sockets)}
    given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [*identity.prefix, str(programs.folder / "postgres"), "-D", cluster.data, *given]
