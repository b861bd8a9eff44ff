"""What the tests need from the system, because no Python package can bring it.

Law: what is missing is named with the command that installs it; nothing is skipped instead.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec


class Need(msgspec.Struct, frozen=True):
    """One thing of the system: `package` is its name for apt."""

    name: str
    purpose: str
    package: str
    is_there: Callable[[], bool]


def system_needs() -> list[Need]:
    """Everything the tests need, there or not."""
    return [
        Need("git", "the house rules list the project's files", "git", _program("git")),
        Need("Chromium", "the chat page is tried in a browser", "chromium", _browser),
        Need(
            "libatomic", "the browser's driver links it", "libatomic1", _library("libatomic.so.1")
        ),
        Need("bubblewrap", "the sandbox is tried for real", "bubblewrap", _program("bwrap")),
        Need("Redis", "tasks go over it as well", "redis-server", _program("redis-server")),
        Need("PostgreSQL", "an external server is tried", "postgresql", _postgres),
    ]


def explain_missing(missing: Sequence[Need]) -> str:
    """One line for each missing thing and the command that brings them all."""
    lines = [f"- {need.name} is missing ({need.purpose})" for need in missing]
    return "\n".join(
        ["The tests need more from this system:", *lines, "Install it with:", install_line(missing)]
    )


def install_line(missing: Sequence[Need]) -> str:
    """The command for a person to type."""
    return "  apt-get update && apt-get install -y " + " ".join(need.package for need in missing)


def install(missing: Sequence[Need]) -> bool:
    """Install by apt, as root on a build machine; whether that worked."""
    quiet = ["-qq", "-o", "Dpkg::Use-Pty=0"]
    packages = [need.package for need in missing]
    commands = (
        ["apt-get", "update", *quiet],
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", *quiet, *packages],
    )
    try:
        return all(subprocess.run(command, check=False).returncode == 0 for command in commands)
    except OSError:
        return False


def find_browser() -> str | None:
    """The path of a Chromium, or None."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _library(name: str) -> Callable[[], bool]:
    def is_there() -> bool:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    return is_there


def _browser() -> bool:
    return find_browser() is not None


def _postgres() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
