"""Replacing the children of a supervisor one after another, so that somebody always serves.

Law: a child is told to go only when its successor is ready; one successor that does not start
ends the renewal, and everybody else goes on as before.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

from agentsite.management.children import KILL_AFTER, Child


class Renewal:
    """One walk through `children`, whose entries it exchanges in place."""

    def __init__(self, children: list[Child], grace: float, say: Callable[[str], object]) -> None:
        self._children = children
        self._grace = grace
        self._say = say
        self._left = list(children)
        self._fresh: Child | None = None
        self._leaving: subprocess.Popen[bytes] | None = None
        self._until = 0.0

    @property
    def done(self) -> bool:
        """Whether all are replaced, or the walk was given up."""
        return not self._left and self._fresh is None and self._leaving is None

    @property
    def fresh(self) -> Child | None:
        """The successor that is starting."""
        return self._fresh

    @property
    def patience(self) -> float | None:
        """Seconds until `go_on` has something to do of itself; None: a signal will tell."""
        return None if self._leaving is None else max(0.0, self._until - time.monotonic())

    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Those that are not among the children."""
        fresh = self._fresh.process if self._fresh is not None else None
        return [process for process in (fresh, self._leaving) if process is not None]

    def go_on(self) -> None:
        """Do what can be done now; called whenever something may have changed."""
        if self._leaving is not None:
            if self._leaving.poll() is None and time.monotonic() < self._until:
                return
            if self._leaving.poll() is None:
                self._leaving.kill()
                self._leaving.wait()
            self._leaving = None
        if self._fresh is None:
            self._begin()
        elif self._fresh.ready:
            self._exchange(self._fresh)
        elif self._fresh.process is not None and self._fresh.process.poll() is not None:
            self._say(f"A new {self._fresh.name} process could not start; the old ones go on.")
            self._fresh.close()
            self._fresh, self._left = None, []

    def _begin(self) -> None:
        if self._left:
            old = self._left[0]
            self._fresh = Child(old.name, old.command, old.descriptors)
            self._fresh.start()

    def _exchange(self, fresh: Child) -> None:
        old = self._left.pop(0)
        self._children[self._children.index(old)] = fresh
        self._fresh = None
        old.close()
        if old.process is not None:
            old.process.send_signal(signal.SIGTERM)
            self._leaving, self._until = old.process, time.monotonic() + self._grace + KILL_AFTER
