"""File locks that the kernel gives back when their holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAUSE = 0.02
"""Seconds between two tries for a lock."""


def open_lock(file: Path) -> int:
    """A descriptor of the lock file, made where it is missing; not inherited by children."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock if nobody is in the way."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(descriptor: int, seconds: float, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock, waiting at most `seconds`."""
    until = time.monotonic() + seconds
    while not try_lock(descriptor, kind):
        if time.monotonic() > until:
            return False
        time.sleep(PAUSE)
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def locked(file: Path, seconds: float) -> Iterator[int | None]:
    """Hold `file` exclusively; yields its descriptor, None when it was not free in `seconds`.

    A child that inherits the descriptor keeps the lock until it ends too.
    """
    descriptor = open_lock(file)
    try:
        yield descriptor if wait_lock(descriptor, seconds) else None
    finally:
        os.close(descriptor)
