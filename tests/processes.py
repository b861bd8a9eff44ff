"""Watching processes that are not our children: nobody tells when they end, so look again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import psutil

PAUSE = threading.Event()


def within(seconds: float, holds: Callable[[], object]) -> bool:
    """Whether something outside this process comes true in time."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        PAUSE.wait(0.02)
    return True


def all_gone(processes: Iterable[psutil.Process], seconds: float) -> bool:
    """Whether all of them end in time.

    A dead one that its new parent has not collected yet is gone; in a container that parent is
    the first process, which may take its time.
    """
    return within(seconds, lambda: not [process for process in processes if lives(process)])


def lives(process: psutil.Process) -> bool:
    """Whether it still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
