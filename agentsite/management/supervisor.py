"""Child processes that live and die together with this one.

Law: a child that ends is started again, ever more slowly; one that never became ready ends
everything. Ctrl-C reaches the children only through here, so that they stop in order. SIGHUP
replaces them one after another, except in a terminal, where it means that the terminal is gone.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from agentsite.management.children import KILL_AFTER, Child
from agentsite.management.renewal import Renewal


class Supervisor:
    """Runs children until a signal says stop; `on_ready` is called when all but the late ones are
    ready, and then those are started."""

    def __init__(
        self, children: Sequence[Child], on_ready: Callable[[], None], say: Callable[[str], object]
    ) -> None:
        self.children = list(children)
        self.on_ready = on_ready
        self.say = say
        self.asked: list[int] = []
        self._announced = False
        self._renewal: Renewal | None = None
        self._renew_again = False

    def run(self, grace: float, grace_in_terminal: float) -> int:
        """Exit code 0 after a stop that was asked for, 1 when a child could not start.

        `grace` seconds are given after SIGTERM, `grace_in_terminal` after Ctrl-C.
        """
        wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        if sys.stdin is None or not sys.stdin.isatty():
            signal.signal(signal.SIGHUP, self._note_renewal)
        while not self.asked:
            self._listen(wake)
            if not self._care():
                self.stop(signal.SIGINT, grace_in_terminal)
                return 1
            self._renew(grace)
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
        starting = [c.process for c in self.children if not c.ready]
        living += self._renewal.processes() if self._renewal is not None else []
        for process in living:
            # Python that still loads would tell of a Ctrl-C at length.
            process.send_signal(signal.SIGTERM if process in starting else how)
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

    def _note_renewal(self, _number: int, _frame: FrameType | None) -> None:
        self._renew_again = True

    def _renew(self, grace: float) -> None:
        """Go on replacing the children, if that was asked for."""
        if self._renewal is None and self._renew_again and self._announced:
            self._renew_again = False
            self._renewal = Renewal(self.children, grace, self.say)
        if self._renewal is not None:
            self._renewal.go_on()
            if self._renewal.done:
                self._renewal = None
                self.say("All processes are new.")

    def _listen(self, wake: int) -> None:
        """Wait for a signal, a sign of readiness, or the time of a restart."""
        cared = list(self.children)
        waits = [c.due - time.monotonic() for c in cared if c.process is None and c.due < math.inf]
        if self._renewal is not None:
            cared += [self._renewal.fresh] if self._renewal.fresh is not None else []
            waits += [self._renewal.patience] if self._renewal.patience is not None else []
        listening = {child.signs: child for child in cared if child.signs >= 0}
        patience = max(0.0, min(waits)) if waits else None
        heard, _, _ = select.select([wake, *listening], [], [], patience)
        if wake in heard:
            os.read(wake, 1024)
        for descriptor in heard:
            if descriptor in listening:
                listening[descriptor].hear()
        if not self._announced and all(child.ready or child.late for child in self.children):
            self._announced = True
            self.on_ready()
            for child in self.children:
                child.due = 0.0

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
