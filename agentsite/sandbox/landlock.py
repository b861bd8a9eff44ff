"""Confinement by Landlock and seccomp alone, for machines that forbid namespaces.

Law: weaker than bubblewrap, so it warns: programs share the process table and write to a real
folder. Nothing can be read but programs and libraries, no socket can be made.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from agentsite.sandbox import seccomp
from agentsite.sandbox.base import Job, Launch, SandboxUnavailable
from agentsite.sandbox.bwrap import PATH, keep, limit
from agentsite.sandbox.cgroups import enter_command, make_groups
from agentsite.sandbox.identity import choose_uid

NEEDED_ABI = 6
"""Linux 6.12: from here on processes outside cannot be signalled."""
PROGRAM = Path(__file__).with_name("landlock_child.py")
READABLE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache")
READABLE_TOO = ("/etc/alternatives", "/etc/ssl/certs", "/etc/passwd", "/etc/group", "/dev/urandom")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")


class Landlock:
    """Runs programs behind a monitor that ends all their processes with them."""

    name = "landlock"
    warning = (
        "Sandboxed programs are confined by Landlock alone: they share the process table and "
        "the host's kernel interfaces. Install bubblewrap and allow user namespaces if you can."
    )

    def __init__(self, *, use_groups: bool = True) -> None:
        self._use_groups = use_groups

    def prepare(self, job: Job) -> Launch:
        if not seccomp.is_supported() or landlock_abi() < NEEDED_ABI:
            raise SandboxUnavailable("this kernel has no Landlock of ABI 6 (Linux 6.12)")
        if job.template is not None:
            raise SandboxUnavailable("a template needs bubblewrap")
        uid = choose_uid()
        groups = make_groups(job.bounds) if self._use_groups else []
        folder = make_folder(job, uid)
        fds: list[int] = []
        known = {"PATH": PATH, "HOME": str(folder / "workspace"), "LANG": "C.UTF-8"}
        known["TMPDIR"] = known["HOME"]
        told = {
            "confined": True,
            "uid": uid,
            "command": [part.replace("/tool/", f"{folder}/tool/") for part in job.command],
            "environment": {**known, **job.environment},
            "folder": str(folder / "workspace"),
            "readable": [*READABLE, *READABLE_TOO, str(folder / "tool")],
            "writable": [str(folder / "workspace"), *DEVICES],
            "filter": keep(fds, seccomp.build(sockets=False, signals=True)),
        }
        command = [*enter_command(groups), *limit(job.bounds), *monitor(told, fds)]
        return Launch(command, fds, folder, groups, memory_is_bound=bool(groups), gentle=True)


def monitor(plan: dict[str, Any], fds: list[int]) -> list[str]:
    """The command line of the monitor that carries this out."""
    told = keep(fds, json.dumps(plan).encode())
    return [sys.executable, "-I", "-S", str(PROGRAM), str(told)]


def make_folder(job: Job, uid: int | None) -> Path:
    """A folder with `workspace` and the job's files in `tool`, for one user's eyes."""
    folder = Path(tempfile.mkdtemp(prefix="agentsite-box-"))
    for name in ("workspace", "tool"):
        (folder / name).mkdir()
    for name, path in job.files.items():
        target = folder / "tool" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target, follow_symlinks=False)
        target.chmod(0o555 if os.access(path, os.X_OK) else 0o444)
    if uid is not None:
        for parent, names, files in os.walk(folder):
            for name in (*names, *files):
                os.chown(f"{parent}/{name}", uid, uid)
        os.chown(folder, uid, uid)
    return folder


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; 0 without."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        found = int(libc.syscall(444, None, ctypes.c_size_t(0), 1))
    except (OSError, AttributeError):
        return 0
    return max(0, found)
