"""The process that starts Postgres, restarts it after a crash, and stops it after its last user.

Law: it holds `server.lock`, and so does the server, so that nobody starts a second one. When
the watchdog is killed the kernel tells the server to stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from agentsite.embedded.binaries import ENVIRONMENT
from agentsite.embedded.fate import die_with_parent
from agentsite.embedded.layout import Files, Watch, socket_directory
from agentsite.embedded.locks import locked, open_lock, try_lock, unlock

GLANCE = 0.1
"""Seconds between two looks at the holders' lock."""
STABLE_SECONDS = 5.0
MOST_FAILURES = 5
"""So many starts in a row that did not last mean that it will not start at all."""


class Watchdog:
    """One server's life: from its start until nobody uses it any more."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.files = Files(Path(watch.base))
        self.holders = open_lock(self.files.holders)
        self.told_to_stop = False
        self.failures = 0
        self.began = 0.0
        self.postgres = self._start()

    def watch_over(self) -> int:
        """Return 0 after an orderly stop, 1 when the server would not stay up."""
        unused_since: float | None = None
        while not self.told_to_stop:
            if self.postgres.poll() is not None and not self._restart():
                return 1
            if self._is_used():
                unused_since = None
            else:
                unused_since = unused_since or time.monotonic()
                waited = time.monotonic() - unused_since
                in_order = self.files.stop_now.exists()
                if (in_order or waited >= self.watch.linger) and self._end_unused():
                    return 0
            time.sleep(GLANCE)
        self._stop()
        return 0

    def tell_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """SIGTERM and SIGINT: stop the server whoever uses it."""
        self.told_to_stop = True

    def _start(self) -> subprocess.Popen[bytes]:
        self.began = time.monotonic()
        change: dict[str, Any] = {}
        if self.watch.uid is not None:
            change = {"user": self.watch.uid, "group": self.watch.gid, "extra_groups": []}
        with self.files.log.open("ab") as log:
            return subprocess.Popen(
                self.watch.command, env=ENVIRONMENT, cwd="/", pass_fds=(self.watch.server,),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # Safe here: this process has one thread.
                preexec_fn=partial(die_with_parent, signal.SIGINT, os.getpid()),
                **change,
            )  # fmt: skip

    def _restart(self) -> bool:
        lasted = time.monotonic() - self.began
        self.failures = 0 if lasted > STABLE_SECONDS else self.failures + 1
        if self.failures >= MOST_FAILURES:
            return False
        time.sleep(0.1 * self.failures)
        self.postgres = self._start()
        return True

    def _is_used(self) -> bool:
        if try_lock(self.holders):
            unlock(self.holders)
            return False
        return True

    def _end_unused(self) -> bool:
        """Stop, unless somebody is just attaching."""
        with locked(self.files.start, 1.0) as start:
            if start is None or self._is_used():
                return False
            self._stop()
            sockets = socket_directory(self.files.base, os.geteuid())
            if sockets != self.files.base:
                with contextlib.suppress(OSError):
                    sockets.rmdir()
        return True

    def _stop(self) -> None:
        """Stop in good order, which takes a checkpoint; at once when that takes too long."""
        for how, patience in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0)):
            self.postgres.send_signal(how)
            try:
                self.postgres.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            return
        self.postgres.kill()


if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # The starter need not wait for a child: the watchdog is nobody's.
    watchdog = Watchdog(msgspec.json.decode(sys.argv[1], type=Watch))
    signal.signal(signal.SIGTERM, watchdog.tell_to_stop)
    signal.signal(signal.SIGINT, watchdog.tell_to_stop)
    sys.exit(watchdog.watch_over())
