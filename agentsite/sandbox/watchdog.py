"""Ends sandboxes whose processes together use too much memory, or whose folder grows too big.

Law: for where no control group does it. One thread per process looks twenty times a second.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentsite.sandbox.base import Bounds

PERIOD = 0.05
COUNTED = ("RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:")


@dataclass(eq=False, slots=True)
class Watched:
    """One sandbox that is looked after."""

    pid: int
    """The process above all of its processes."""
    bounds: Bounds
    end: Callable[[Literal["memory", "disk"]], None]
    memory: bool
    folder: Path | None


class Watchdog:
    """Looks after all sandboxes of this process."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        with self._lock:
            self._watched.add(watched)
            self._some.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
                self._thread.start()

    def remove(self, watched: Watched) -> None:
        with self._lock:
            self._watched.discard(watched)
            if not self._watched:
                self._some.clear()

    def _look(self) -> None:
        pause = threading.Event()
        while self._some.wait():
            with self._lock:
                now = tuple(self._watched)
            for each in now:
                if each.memory and memory_of(each.pid) > each.bounds.memory:
                    each.end("memory")
                if each.folder is not None and size_of(each.folder) > each.bounds.workspace:
                    each.end("disk")
            pause.wait(PERIOD)


def memory_of(pid: int) -> int:
    """Bytes that a process and all below it use, shared ones counted each time."""
    return sum(_memory(each) for each in descendants(pid))


def descendants(pid: int) -> Iterator[int]:
    """A process and all below it."""
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        yield current
        with suppress(OSError):
            for task in os.listdir(f"/proc/{current}/task"):  # noqa: PTH208 - no Path per process
                with suppress(OSError), open(f"/proc/{current}/task/{task}/children") as children:  # noqa: PTH123
                    waiting.extend(map(int, children.read().split()))


def _memory(pid: int) -> int:
    kib = 0
    with suppress(OSError), open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        for line in status:
            if line.startswith(COUNTED):
                kib += int(line.split()[1])
    return kib * 1024


def size_of(folder: Path) -> int:
    """Bytes on disk below a folder; links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(f"{parent}/{name}").st_blocks * 512
        total += 4096
    return total


WATCHDOG = Watchdog()
"""Of this process."""
