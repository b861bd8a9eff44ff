"""A process that has everything loaded and forks the web processes: most of a start is imports.

Law: it has one thread and no connection, so a fork is a whole copy; what is forked is
`manage.py serve` in everything but where its modules came from.
`python -m agentsite.management.chaos.nursery --parent PID --socket FD` serves its maker.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path

import django
from django.core.management import call_command

from agentsite.embedded.fate import die_with_parent

LOADED = ("agentsite.urls", "agentsite.asgi", "agentsite.host.site", "uvicorn", "uvloop")
LOADED_SDKS = ("anthropic",)
LOAD_WITHIN = 120.0
WORDS = 200


class Life:
    """A forked process, seen from the nursery's maker."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self._ended = select.poll()
        self._descriptor = os.pidfd_open(pid)  # it stays a zombie until it is asked for
        self._ended.register(self._descriptor, select.POLLIN)
        self.returncode: int | None = None

    def send_signal(self, how: signal.Signals) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._descriptor, how)

    def poll(self, milliseconds: int = 0) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        if self.returncode is None and self._ended.poll(milliseconds):
            self.returncode = int(self._nursery.ask(f"code {self.pid}"))
            os.close(self._descriptor)
        return self.returncode

    def end(self) -> None:
        """Kill it, however it stands, and wait."""
        self.send_signal(signal.SIGKILL)
        while self.poll(1000) is None:
            pass


class Nursery:
    """The maker's side: starts the nursery, and has lives begun in it."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agentsite.management.chaos.nursery",
                 "--parent", str(os.getpid()), "--socket", str(theirs.fileno())],
                cwd=root, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                process_group=0,
            )  # fmt: skip
        self._socket.settimeout(LOAD_WITHIN)

    def begin(self, name: str, listening: int, ready: int, log: int) -> Life:
        """Fork a web process called `name`, with these descriptors."""
        socket.send_fds(self._socket, [f"begin {name}".encode()], [listening, ready, log])
        return Life(self, int(self._hear()))

    def ask(self, words: str) -> str:
        """Say something to the nursery and hear its answer."""
        self._socket.send(words.encode())
        return self._hear()

    def _hear(self) -> str:
        said = self._socket.recv(WORDS).decode()
        if not said:
            raise RuntimeError("the nursery of the web processes has ended; its reason is above")
        return said

    def close(self) -> None:
        """End it; what it has forked ends with it."""
        self._process.kill()
        self._process.wait()
        self._socket.close()


# ---- in the nursery -------------------------------------------------------------------


def _live(name: str, listening: int, ready: int, log: int) -> int:
    """What a forked process does; its exit code."""
    os.setpgid(0, 0)  # Ctrl-C is for the maker; the kernel wakes stopped orphans
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.putenv("PGAPPNAME", name)  # for the driver, which asks the C library
    try:
        call_command(
            "serve", "--socket", str(listening), "--ready", str(ready), "--parent", str(PARENT)
        )
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing of it may reach the nursery's own loop
        traceback.print_exc()
        return 1
    return 0


def _serve(maker: socket.socket) -> None:
    while True:
        words, descriptors, _, _ = socket.recv_fds(maker, WORDS, 3)
        if not words:
            return
        told, what = words.decode().split()
        if told == "code":
            _, status = os.waitpid(int(what), 0)
            maker.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            maker.close()
            os._exit(_live(what, *descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        maker.send(str(pid).encode())


PARENT = os.getpid()
"""The nursery itself, as those that it forks see it."""


def main() -> None:
    """Load everything, then fork on demand until the maker has gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--socket", type=int, required=True)
    given = parser.parse_args()
    die_with_parent(signal.SIGKILL, given.parent)
    django.setup()
    for name in (*LOADED, *LOADED_SDKS):
        import_module(name)
    if threading.active_count() > 1:
        raise RuntimeError(f"a fork would lose threads: {threading.enumerate()}")
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=given.socket))


if __name__ == "__main__":
    main()
