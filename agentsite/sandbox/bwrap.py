"""Confinement by bubblewrap: namespaces of its own for everything, no network, a small root.

Law: nothing of this machine is writable; what is written lives in memory, within its bound.
As root, each sandbox is a user of its own, so that limits per user hold and files are safe.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

from agentsite.sandbox import seccomp
from agentsite.sandbox.base import MIB, Bounds, Job, Launch, SandboxUnavailable
from agentsite.sandbox.cgroups import enter_command, make_groups
from agentsite.sandbox.identity import become, choose_uid, count_own_threads

INSIDE = "1000"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
SHOWN_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "localtime")
OWN_ETC = {
    "passwd": "root:x:0:0:root:/:/bin/false\nagent:x:1000:1000::/workspace:/bin/sh\n",
    "group": "root:x:0:\nagent:x:1000:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
NEVER_SHOWN = frozenset(
    [
        "proc",
        "dev",
        "sys",
        "tmp",
        "run",
        "workspace",
        "tool",
        "home",
        "root",
        "mnt",
        "media",
        "srv",
        "boot",
    ]
)
"""Of a template these are made anew or left out."""
TMP, SHM = 32 * MIB, 16 * MIB


class Bubblewrap:
    """Runs programs under `bwrap`. `use_groups=False` leaves memory to the watchdog."""

    name = "bwrap"
    warning = None

    def __init__(self, *, use_groups: bool = True) -> None:
        self._use_groups = use_groups

    def prepare(self, job: Job) -> Launch:
        program = shutil.which("bwrap")
        if program is None or not seccomp.is_supported():
            raise SandboxUnavailable("bubblewrap is not installed, or this is no x86_64 machine")
        groups = make_groups(job.bounds) if self._use_groups else []
        fds: list[int] = []
        try:
            options = [*NAMESPACES, *_root(job, fds), *_writable(job.bounds), *_environment(job)]
            options += ["--seccomp", str(keep(fds, seccomp.build(sockets=True)))]
            # Not on the command line, which everybody on this machine may read.
            told = keep(fds, b"".join(f"{option}\0".encode() for option in options))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        before = [*enter_command(groups), *become(choose_uid()), *limit(job.bounds)]
        command = [*before, program, "--args", str(told), "--", *job.command]
        return Launch(command, fds, group_folders=groups, memory_is_bound=bool(groups))


NAMESPACES = [
    "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
    "--uid", INSIDE, "--gid", INSIDE, "--hostname", "sandbox", "--cap-drop", "ALL", "--clearenv",
]  # fmt: skip


def limit(bounds: Bounds) -> list[str]:
    """A prefix for a command line that sets limits per process and per user."""
    processes = bounds.processes + (0 if os.geteuid() == 0 else count_own_threads()) + 4
    seconds = math.ceil(bounds.seconds) + 1
    limits = {
        "nproc": processes,
        "nofile": bounds.open_files,
        "fsize": bounds.file_size,
        "data": bounds.memory,
        "cpu": seconds,
        "core": 0,
        "memlock": 64 * 1024,
        "msgqueue": 0,
        "sigpending": 256,
        "stack": 64 * MIB,
    }
    return ["/usr/bin/prlimit", *(f"--{name}={n}:{n}" for name, n in limits.items()), "--"]


def _root(job: Job, fds: list[int]) -> list[str]:
    options: list[str] = []
    if job.template is None:
        for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            options += _show(Path("/", name))
        for name in SHOWN_ETC:
            options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    else:
        for entry in sorted(job.template.iterdir()):
            if entry.name not in NEVER_SHOWN:
                options += _show(entry)
    if job.template is None or not (job.template / "etc").exists():
        for name, text in OWN_ETC.items():
            options += ["--perms", "0444", "--file", str(keep(fds, text.encode())), f"/etc/{name}"]
    for name, path in sorted(job.files.items()):
        mode = "0555" if os.access(path, os.X_OK) else "0444"
        fds.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        options += ["--perms", mode, "--file", str(fds[-1]), f"/tool/{name}"]
    return options


def _show(path: Path) -> list[str]:
    """A folder of the root, read-only; a link stays a link and is followed inside."""
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), f"/{path.name}"]
    return ["--ro-bind", str(path), f"/{path.name}"] if path.is_dir() else []


def _writable(bounds: Bounds) -> list[str]:
    return [
        "--proc", "/proc", "--dev", "/dev",
        "--size", str(SHM), "--tmpfs", "/dev/shm",  # noqa: S108 - inside
        "--size", str(TMP), "--tmpfs", "/tmp",  # noqa: S108 - inside
        "--size", str(bounds.workspace), "--tmpfs", "/workspace",
        "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/workspace",
    ]  # fmt: skip


def _environment(job: Job) -> list[str]:
    known = {"PATH": PATH, "HOME": "/workspace", "LANG": "C.UTF-8"}
    pairs = {**known, **job.environment}
    return [part for name, value in pairs.items() for part in ("--setenv", name, value)]


def keep(fds: list[int], content: bytes) -> int:
    """An open, nameless file with this content."""
    fd = os.memfd_create("sandbox", os.MFD_CLOEXEC)
    fds.append(fd)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
