"""Python processes that start fast: forked from one that has imported other people's code already.

Law: nothing of this project is imported before the fork, so a process runs whatever tree it is
told to, with the environment that it is given. All else is as if it had been executed. Run as a
program this is the fork server: each request `{root, words, environment, folder}` comes with the
descriptors to pass on and a socket on which the exit code is told.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

IMPORTED = (
    "anthropic", "openai", "google.genai", "mcp", "mcp.server", "mcp.client.stdio",
    "mcp.client.sse", "mcp.client.streamable_http", "uvicorn", "uvloop", "httptools",
    "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl", "aiohttp", "psycopg",
    "psycopg.types.json", "psycopg_pool", "yaml", "jsonschema", "celery", "celery.app.trace",
    "pgmq", "cryptography.fernet", "jwt", "sqlparse", "pygments.lexers", "regex", "requests",
    "cron_descriptor", "django.core.management", "django.db.models",
    "django.db.backends.postgresql.base", "django.forms", "django.template", "django.urls",
)  # fmt: skip
"""What servers and workers import anyway, and what looks at no settings when it is imported."""
ROOT = Path(__file__).resolve().parent.parent
PASSED = "{}"
"""Stands in `words` for the number of a descriptor that is passed on."""
MOST = 16
"""Descriptors with one request."""


class Process:
    """A process that was started so, with the part of `subprocess.Popen` that tests need."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """As that of `Popen`: negative for a signal."""
        self._told = told

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises `TimeoutExpired`."""
        if self.returncode is None:
            heard, _, _ = select.select([self._told], [], [], timeout)
            if not heard:
                raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
            with self._told:
                said = self._told.recv(16)
            self.returncode = int(said) if said else -signal.SIGKILL  # the fork server is gone
        return self.returncode

    def send_signal(self, how: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, how)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """That of this test process; it ends with it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._asked = ours
        self.pid = self._process.pid
        atexit.register(self.end)

    def end(self) -> None:
        """Let it go; a child that asked for it is told by the kernel."""
        self._asked.close()
        self._process.wait(10)

    def fork(
        self, words: list[str], descriptors: list[int], root: Path, folder: Path, **env: str
    ) -> Process:
        """Run `python *words` in `folder` with nothing but `env` as environment.

        `descriptors` are its standard output and error, then one for each `PASSED` in `words`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = {"root": str(root), "words": words, "folder": str(folder), "environment": env}
        with theirs:
            sent = [theirs.fileno(), *descriptors]
            socket.send_fds(self._asked, [json.dumps(told).encode()], sent)
        return Process(int(ours.recv(16)), ours)


@cache
def fork_server() -> ForkServer:
    """That of this process; made when it is first asked for."""
    return ForkServer()


def fork_for_ever(asked: socket.socket) -> None:
    """Fork what is asked for and tell how it ended, until nobody can ask any more."""
    heard, woken = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    told: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([asked, heard], [], [])
        if heard in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(heard, 1024)
            collect(told)
        if asked in ready:
            said, descriptors, _, _ = socket.recv_fds(asked, 1 << 20, MOST)
            if not said:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                become(json.loads(said), descriptors[1:])
            told[pid] = socket.socket(fileno=descriptors[0])
            told[pid].send(str(pid).encode())
            for each in descriptors[1:]:
                os.close(each)


def collect(told: dict[int, socket.socket]) -> None:
    """Collect the children that have ended."""
    for pid in list(told):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with told.pop(pid) as teller, contextlib.suppress(OSError):
                teller.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Be `python *words`; does not return."""
    code = 1
    try:
        output, *passed = descriptors
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for each in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
            if each > 2 and each not in passed:
                with contextlib.suppress(OSError):
                    os.close(each)
        for each in passed:
            os.set_inheritable(each, True)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        numbers = iter(passed)
        words = [str(next(numbers)) if word == PASSED else word for word in asked["words"]]
        sys.path[0] = asked["root"]
        code = run(words)
    except BaseException:  # noqa: BLE001 - as the interpreter would
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(end(code))


def run(words: list[str]) -> int:
    """What `python *words` does; its exit code."""
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as said:
        if said.code is None or isinstance(said.code, int):
            return said.code or 0
        print(said.code, file=sys.stderr)
        return 1
    return 0


def end(code: int) -> int:
    """What the interpreter does last: threads, exit handlers, streams."""
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    fork_for_ever(socket.socket(fileno=int(sys.argv[1])))
