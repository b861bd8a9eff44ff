"""A program in its sandbox, from start to the last of its processes.

Law: whatever it does, it ends within its bounds, and leaves no process, file or group behind.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

from agentsite.sandbox.base import Backend, Bounds, Ending, Job, Launch, Outcome
from agentsite.sandbox.cgroups import ran_out_of_memory, remove_groups
from agentsite.sandbox.watchdog import WATCHDOG, Watched

CHUNK = 65_536
GENTLE_SECONDS = 2.0
LAST_WORDS_SECONDS = 2.0
REMOVALS = 200


class Box:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process, launch: Launch, bounds: Bounds) -> None:
        self._process = process
        self._launch = launch
        self._bounds = bounds
        self._ending: Ending = "exited"
        self._read = 0
        self._dropped = 0
        self._kept = {"stdout": bytearray(), "stderr": bytearray()}

    async def write(self, data: bytes) -> None:
        """Give it input; a program that is gone or does not read takes none."""
        if self._process.stdin is not None:
            with suppress(ConnectionError):
                self._process.stdin.write(data)
                await self._process.stdin.drain()

    def close_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def end(self, ending: Ending) -> None:
        """End all of its processes now; the first word counts. From the loop's thread."""
        if self._process.returncode is None and self._ending == "exited":
            self._ending = ending
            with suppress(ProcessLookupError):
                if self._launch.gentle:
                    self._process.terminate()
                    asyncio.get_running_loop().call_later(GENTLE_SECONDS, self._kill)
                else:
                    self._kill()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def finish(self, take: Callable[[bytes], None] | None = None) -> Outcome:
        """Read its output to the end, `take` that of stdout as it comes, and say how it ended."""
        process = self._process
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("a box always reads the output of its program")
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._bounds.seconds, self.end, "timeout")
        try:
            async with asyncio.TaskGroup() as reading:
                output = (
                    reading.create_task(self._drain(process.stdout, "stdout", take)),
                    reading.create_task(self._drain(process.stderr, "stderr")),
                )
                code = await process.wait()
                # All writers are gone with it; whoever got away does not hold us up.
                _, left = await asyncio.wait(output, timeout=LAST_WORDS_SECONDS)
                for task in left:
                    task.cancel()
        finally:
            timer.cancel()
        ending = self._ending
        if ending == "exited" and ran_out_of_memory(self._launch.group_folders):
            ending = "memory"
        code = code if code >= 0 else 128 - code
        kept = {name: bytes(data) for name, data in self._kept.items()}
        return Outcome(ending, code, kept["stdout"], kept["stderr"], self._dropped)

    async def _drain(
        self,
        stream: asyncio.StreamReader,
        name: Literal["stdout", "stderr"],
        take: Callable[[bytes], None] | None = None,
    ) -> None:
        kept = self._kept[name]
        while chunk := await stream.read(CHUNK):
            self._read += len(chunk)
            if self._read > self._bounds.most_output:
                self.end("output")
            if take is not None:
                take(chunk)
                continue
            room = self._bounds.kept_output - len(kept)
            kept += chunk[: max(0, room)]
            self._dropped += max(0, len(chunk) - max(0, room))


@asynccontextmanager
async def start(backend: Backend, job: Job) -> AsyncIterator[Box]:
    """Start a program; leaving the context ends it, if it has not ended by itself.

    Raises SandboxUnavailable, or OSError when the program cannot be started.
    """
    launch = await asyncio.to_thread(backend.prepare, job)
    try:
        process = await _spawn(launch, job)
    except BaseException:
        await _tidy(launch)
        raise
    box = Box(process, launch, job.bounds)
    watched = _watch(box, process.pid, launch, job.bounds)
    try:
        yield box
    finally:
        box.end("stopped")
        await _see_off(process)
        if watched is not None:
            WATCHDOG.remove(watched)
        await _tidy(launch)


async def run(backend: Backend, job: Job, stdin: bytes = b"") -> Outcome:
    """Run a program to its end."""
    async with start(backend, job) as box:
        if job.stdin:
            await box.write(stdin)
            box.close_input()
        return await box.finish()


async def _spawn(launch: Launch, job: Job) -> asyncio.subprocess.Process:
    # From the event loop's thread: bubblewrap dies with the thread that started it.
    try:
        return await asyncio.create_subprocess_exec(
            *launch.command,
            stdin=asyncio.subprocess.PIPE if job.stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=launch.fds,
            env={},
            cwd="/",
            start_new_session=True,
        )
    finally:
        for fd in launch.fds:
            os.close(fd)


def _watch(box: Box, pid: int, launch: Launch, bounds: Bounds) -> Watched | None:
    if launch.memory_is_bound and launch.folder is None:
        return None
    loop = asyncio.get_running_loop()

    def end(ending: Literal["memory", "disk"]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(box.end, ending)

    watched = Watched(pid, bounds, end, not launch.memory_is_bound, launch.folder)
    WATCHDOG.add(watched)
    return watched


async def _see_off(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process that has been told to; through cancellations."""
    waiting = asyncio.ensure_future(process.wait())
    cancelled: asyncio.CancelledError | None = None
    while not waiting.done():
        try:
            await asyncio.wait({waiting})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _tidy(launch: Launch) -> None:
    """Remove what was made for it."""
    await asyncio.shield(asyncio.to_thread(_remove, launch))


def _remove(launch: Launch) -> None:
    if launch.folder is not None:
        shutil.rmtree(launch.folder, ignore_errors=True)
    pause = threading.Event()
    for _ in range(REMOVALS):  # the last processes of a group may still be on their way out
        if remove_groups(launch.group_folders):
            return
        pause.wait(0.005)
