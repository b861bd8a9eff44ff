"""Child processes that live and die together with this one.

Law: a child that ends is started again, ever more slowly; one that never became ready ends
everything. Ctrl-C reaches the children only through here, so that they stop in order.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

SLOWEST_RESTART = 10.0
STABLE_SECONDS = 30.0
KILL_AFTER = 1.5
"""Seconds that a child gets beyond its own grace before it is killed."""


class Child:
    """One program: its command line, the descriptors it inherits, and how often it failed."""

    def __init__(self, name: str, command: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        self.name = name
        self.command = list(command)
        self.descriptors = list(descriptors)
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.failures = 0
        self.began = 0.0
        self.due = 0.0
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

    def plan_restart(self) -> float:
        """Note that it ended; seconds until it is started again."""
        lasted = time.monotonic() - self.began
        self.failures = 0 if lasted > STABLE_SECONDS else self.failures + 1
        wait = min(SLOWEST_RESTART, 0.25 * 2.0**self.failures)
        self.process = None
        self.due = time.monotonic() + wait
        return wait


class Supervisor:
    """Runs children until a signal says stop; `on_ready` is called when all are ready."""

    def __init__(
        self, children: Sequence[Child], on_ready: Callable[[], None], say: Callable[[str], object]
    ) -> None:
        self.children = list(children)
        self.on_ready = on_ready
        self.say = say
        self.asked: list[int] = []
        self._announced = False

    def run(self, grace: float, grace_in_terminal: float) -> int:
        """Exit code 0 after a stop that was asked for, 1 when a child could not start.

        `grace` seconds are given after SIGTERM, `grace_in_terminal` after Ctrl-C.
        """
        wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        for child in self.children:
            child.start()
        while not self.asked:
            self._listen(wake)
            if not self._care():
                self.stop(signal.SIGINT, grace_in_terminal)
                return 1
        in_terminal = self.asked[0] == signal.SIGINT
        self.stop(
            signal.SIGINT if in_terminal else signal.SIGTERM,
            grace_in_terminal if in_terminal else grace,
        )
        return 0

    def stop(self, how: signal.Signals, grace: float) -> None:
        """Stop the children, last started first; kill what does not end in time."""
        asked_before = len(self.asked)
        living = [c.process for c in reversed(self.children) if c.process is not None]
        for process in living:
            process.send_signal(how)
        until = time.monotonic() + grace + KILL_AFTER
        for process in living:
            while process.poll() is None:
                if time.monotonic() > until or len(self.asked) > asked_before:
                    process.kill()
                    process.wait()
                    break
                time.sleep(0.02)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.asked.append(number)

    def _listen(self, wake: int) -> None:
        """Wait for a signal, a sign of readiness, or the time of a restart."""
        listening = {child.signs: child for child in self.children if child.signs >= 0}
        dues = [child.due for child in self.children if child.process is None]
        patience = max(0.0, min(dues) - time.monotonic()) if dues else None
        heard, _, _ = select.select([wake, *listening], [], [], patience)
        if wake in heard:
            os.read(wake, 1024)
        for descriptor in heard:
            if descriptor in listening:
                listening[descriptor].hear()
        if not self._announced and all(child.ready for child in self.children):
            self._announced = True
            self.on_ready()

    def _care(self) -> bool:
        """Start what ended; False when a child ended before it was ever ready."""
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                if not child.ready:
                    self.say(f"The {child.name} process could not start; its reason is above.")
                    return False
                code = child.process.returncode
                wait = child.plan_restart()
                self.say(f"The {child.name} process ended ({code}); next start in {wait:.1f} s.")
            elif child.process is None and time.monotonic() >= child.due:
                child.start()
        return True


def command_child(name: str, root: Path, *args: str, descriptors: Sequence[int] = ()) -> Child:
    """A child that runs one of our commands with this interpreter."""
    return Child(name, [sys.executable, str(root / "manage.py"), *args], descriptors)
