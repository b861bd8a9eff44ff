"""The files of an agent's folder, reached without ever leaving it.

Law: every step of a path is opened from the folder before it and no link is followed, so that
neither `..` nor a link nor a race leads outside. Only named folders, no hidden and no blocked file.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from agentsite.tools.results import ToolError

ALLOWED = (
    "skills",
    "knowledge",
    "connections",
    "stores",
    "pages",
    "automations",
    "evals",
    "agents",
)
ALLOWED_DIRS = (*ALLOWED, "tools")
BLOCKED_FILES = (".env", "amodal.json", "package.json", "pnpm-lock.yaml", "tsconfig.json")
FILE_BYTES = 1_000_000
MOST_FILES = 10_000
STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
ODD = re.compile(r"[\x00-\x1f\x7f\\]")


class RepoFiles:
    """Files below one root. Every method raises ToolError in a sentence for the model."""

    def __init__(
        self, root: Path, allowed: Sequence[str] | None = None, blocked: Sequence[str] | None = None
    ) -> None:
        self._root = root
        self._allowed = tuple(
            tuple(name.strip("/").split("/"))
            for name in (ALLOWED_DIRS if allowed is None else allowed)
        )
        names = BLOCKED_FILES if blocked is None else (*blocked, ".env")
        self._blocked = frozenset(name.casefold() for name in names)

    def read(self, path: str) -> str:
        """The text of a file."""
        steps = self._split(path)
        with self._parent(steps, path) as parent:
            return _read(parent, steps[-1], path)

    def write(self, path: str, content: str) -> bool:
        """Write a file whole, in one move, with the folders it needs; whether it is new."""
        data = content.encode("utf-8", "replace")
        if len(data) > FILE_BYTES:
            raise ToolError(f"A file has at most {FILE_BYTES:,} bytes: {path}")
        steps = self._split(path)
        with self._parent(steps, path, make=True) as parent:
            existing = _look(parent, steps[-1])
            if existing is not None and not stat.S_ISREG(existing.st_mode):
                raise ToolError(f"Not a regular file: {path}")
            draft = f".agentsite-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            mode = stat.S_IMODE(existing.st_mode) if existing else 0o644
            fd = os.open(draft, flags, mode, dir_fd=parent)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                os.replace(draft, steps[-1], src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=parent)
                raise
            return existing is None

    def delete(self, path: str) -> None:
        """Remove one regular file."""
        steps = self._split(path)
        with self._parent(steps, path) as parent:
            found = _look(parent, steps[-1])
            if found is None:
                raise ToolError(f"File not found: {path}")
            if not stat.S_ISREG(found.st_mode):
                raise ToolError(f"Not a regular file: {path}")
            os.unlink(steps[-1], dir_fd=parent)

    def list(self, folder: str = "") -> Iterator[str]:
        """Every file that may be read below a folder, links left out; paths in order."""
        starts = [self._split(folder, is_folder=True)] if folder.strip("/. ") else self._allowed
        found = 0
        for start in starts:
            with self._folder(start, folder or "/".join(start), must_be=bool(folder)) as fd:
                if fd is None:
                    continue
                for inner, names, files, _ in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
                    names[:] = sorted(name for name in names if not name.startswith("."))
                    below = [part for part in inner.split("/") if part != "."]
                    for name in sorted(files):
                        found += 1
                        if found > MOST_FILES:
                            return
                        if not self._is_blocked(name):
                            yield "/".join((*start, *below, name))

    def _split(self, path: str, *, is_folder: bool = False) -> tuple[str, ...]:
        steps = tuple(path.removesuffix("/").split("/") if is_folder else path.split("/"))
        if path.startswith("/") or ODD.search(path) or any(s in ("", ".", "..") for s in steps):
            raise ToolError(f"Path traversal is not allowed: {path}")
        fits = any(
            steps[: len(start)] == start and (is_folder or len(steps) > len(start))
            for start in self._allowed
        )
        if not fits:
            names = ", ".join("/".join(start) for start in self._allowed)
            raise ToolError(f"Not in an allowed folder: {path}. Allowed: {names}")
        if any(step.startswith(".") for step in steps) or self._is_blocked(steps[-1]):
            raise ToolError(f"Access to this file is blocked: {path}")
        return steps

    def _is_blocked(self, name: str) -> bool:
        return name.startswith(".") or name.casefold() in self._blocked

    @contextmanager
    def _parent(self, steps: tuple[str, ...], path: str, *, make: bool = False) -> Iterator[int]:
        with self._folder(steps[:-1], path, make=make) as fd:
            if fd is None:
                raise ToolError(f"File not found: {path}")
            yield fd

    @contextmanager
    def _folder(
        self, steps: tuple[str, ...], path: str, *, make: bool = False, must_be: bool = True
    ) -> Iterator[int | None]:
        """An open folder, reached step by step; None where it is not there and need not be."""
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(step, dir_fd=fd)
                try:
                    inner = os.open(step, STEP, dir_fd=fd)
                except FileNotFoundError:
                    if must_be:
                        raise ToolError(f"File not found: {path}") from None
                    yield None
                    return
                except OSError:
                    raise ToolError(f"Path traversal is not allowed: {path}") from None
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)


def _look(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _read(parent: int, name: str, path: str) -> str:
    try:
        fd = os.open(name, READ, dir_fd=parent)
    except FileNotFoundError:
        raise ToolError(f"File not found: {path}") from None
    except OSError:
        raise ToolError(f"Not a regular file: {path}") from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ToolError(f"Not a regular file: {path}")
        if found.st_size > FILE_BYTES:
            raise ToolError(f"The file is larger than {FILE_BYTES:,} bytes: {path}")
        raw = file.read(FILE_BYTES + 1)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ToolError(f"Not a text file: {path}") from None
