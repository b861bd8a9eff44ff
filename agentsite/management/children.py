"""One child process of ours: started with a pipe on which it says when it is ready."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SLOWEST_RESTART = 10.0
STABLE_SECONDS = 30.0
KILL_AFTER = 1.5
"""Seconds that a child gets beyond its own grace before it is killed."""


class Child:
    """One program: its command line, the descriptors it inherits, and how often it failed.

    A `late` one is started when all others are ready, so that it takes nothing from their start.
    """

    def __init__(
        self, name: str, command: Sequence[str], descriptors: Sequence[int] = (), late: bool = False
    ) -> None:
        self.name = name
        self.command = list(command)
        self.descriptors = list(descriptors)
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.failures = 0
        self.began = 0.0
        self.late = late
        self.due = math.inf if late else 0.0
        self._signs, self._given = -1, -1

    def start(self) -> None:
        """Start it with a pipe on which it says when it is ready."""
        self._signs, self._given = os.pipe()
        self.began = time.monotonic()
        command = [*self.command, "--parent", str(os.getpid()), "--ready", str(self._given)]
        self.process = subprocess.Popen(
            command, pass_fds=[*self.descriptors, self._given], start_new_session=True
        )
        os.close(self._given)

    @property
    def signs(self) -> int:
        """The end of the pipe to listen on, -1 when there is nothing to hear."""
        return self._signs

    def hear(self) -> bool:
        """Read a sign: True when the child just became ready."""
        said = os.read(self._signs, 1)
        os.close(self._signs)
        self._signs = -1
        self.ready = self.ready or bool(said)
        return bool(said)

    def close(self) -> None:
        """Listen to it no more."""
        if self._signs >= 0:
            os.close(self._signs)
            self._signs = -1

    def plan_restart(self) -> float:
        """Note that it ended; seconds until it is started again."""
        lasted = time.monotonic() - self.began
        self.failures = 0 if lasted > STABLE_SECONDS else self.failures + 1
        wait = min(SLOWEST_RESTART, 0.25 * 2.0**self.failures)
        self.process = None
        self.due = time.monotonic() + wait
        return wait


def command_child(
    name: str, root: Path, *args: str, descriptors: Sequence[int] = (), late: bool = False
) -> Child:
    """A child that runs one of our commands with this interpreter."""
    return Child(name, [sys.executable, str(root / "manage.py"), *args], descriptors, late)
