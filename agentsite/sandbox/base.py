"""What is run in a sandbox, within which bounds, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

MIB = 1024 * 1024
Mode = Literal["auto", "bwrap", "landlock", "unsafe-local", "off"]
MODES: tuple[Mode, ...] = ("auto", "bwrap", "landlock", "unsafe-local", "off")
Ending = Literal["exited", "timeout", "memory", "output", "disk", "stopped"]


class SandboxUnavailable(Exception):
    """Nothing here can confine a program; the message says what was tried and what to do."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one sandbox may use at the most."""

    seconds: float = 30.0
    memory: int = 512 * MIB
    """Bytes of all its processes together, files in memory included where cgroups count them."""
    processes: int = 64
    """Threads count."""
    open_files: int = 256
    file_size: int = 64 * MIB
    workspace: int = 64 * MIB
    """Bytes of all files it may leave in /workspace; /tmp and /dev/shm have less."""
    kept_output: int = MIB
    """Bytes of each output stream that are kept; the rest is read and dropped."""
    most_output: int = 32 * MIB
    """Bytes of output after which it is ended."""


@dataclass(frozen=True, slots=True)
class Job:
    """One program to run. `files` are put below /tool, read-only."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path below /tool → a regular file of this machine; executable bits are kept."""
    template: Path | None = None
    """A folder that stands for the root of the file system; None: this machine's /usr."""
    bounds: Bounds = Bounds()
    stdin: bool = False
    """Whether somebody will write to it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended. `code` is its exit code, 128 + n after signal n."""

    ending: Ending
    code: int
    stdout: bytes = b""
    stderr: bytes = b""
    dropped: int = 0
    """Bytes of output that were not kept."""


@dataclass(slots=True)
class Launch:
    """A command line with what must stay open while it starts, and what to remove after it."""

    command: list[str]
    fds: list[int] = field(default_factory=list)
    folder: Path | None = None
    """Its workspace on disk, if it has one."""
    group_folders: list[Path] = field(default_factory=list)
    """Control groups of its own."""
    memory_is_bound: bool = False
    """False: somebody must watch what its processes use."""
    gentle: bool = False
    """Ended by SIGTERM to its monitor, which ends all the rest."""


class Backend(Protocol):
    """One way to confine programs."""

    @property
    def name(self) -> str: ...

    @property
    def warning(self) -> str | None:
        """What it does not confine; logged once per process."""

    def prepare(self, job: Job) -> Launch:
        """Make everything ready but the process itself. Blocks briefly."""
        ...
