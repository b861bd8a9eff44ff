"""A program in its sandbox: what goes in, what comes out, and how it is ended."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest

from agentsite.sandbox.base import Bounds, Job, Launch, SandboxUnavailable
from agentsite.sandbox.bwrap import Bubblewrap
from agentsite.sandbox.choice import Chooser, try_out
from agentsite.sandbox.process import run, start
from agentsite.sandbox.watchdog import descendants
from tests.requirements import requirement

BACKEND = Bubblewrap()


def shell(program: str, **options: object) -> Job:
    return Job(["/bin/sh", "-c", program], **options)  # type: ignore[arg-type]  # of a Job


def read_command_lines() -> list[bytes]:
    """Those of this process and of all below it, as everybody may see them."""
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(os.getpid())]


def lay_out_root(folder: Path) -> None:
    """A shell, what it needs, and a word."""
    (folder / "opt").mkdir()
    (folder / "opt" / "word").write_text("from the template")
    for path in ("/bin/sh", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"):
        target = folder / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(path).resolve(), target)


async def test_input_output_environment_and_code() -> None:
    program = 'cat; echo "$NAME" >&2; exit 7'
    outcome = await run(BACKEND, shell(program, environment={"NAME": "Ann"}, stdin=True), b"hello")
    assert (outcome.ending, outcome.code) == ("exited", 7)
    assert (outcome.stdout, outcome.stderr) == (b"hello", b"Ann\n")


async def test_secrets_of_its_environment_are_on_no_command_line() -> None:
    job = shell("cat", environment={"TOKEN": "sk-very-secret"}, stdin=True)
    async with start(BACKEND, job):
        lines = read_command_lines()
    assert not any(b"sk-very-secret" in line for line in lines)


async def test_a_cancelled_program_is_gone_at_once() -> None:
    before = set(descendants(os.getpid()))
    started = asyncio.Event()

    async def wait() -> None:
        async with start(BACKEND, shell("(setsid sleep 99 &); sleep 99")) as box:
            started.set()
            await box.finish()

    task = asyncio.create_task(wait())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(descendants(os.getpid())) <= before


async def test_a_template_stands_for_the_root(open_folder: Path) -> None:
    lay_out_root(open_folder)
    program = 'read word < /opt/word; echo "$word"; test -e /usr || echo nothing else'
    outcome = await run(BACKEND, shell(program, template=open_folder))
    assert outcome.stdout == b"from the template\nnothing else\n", outcome


@requirement("agent.sandbox-choice")
async def test_without_confinement_nothing_runs(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SandboxUnavailable, match="AGENT_SANDBOX=off"):
        await Chooser("off").choose()
    assert (await Chooser("auto").choose()).name == "bwrap"
    with caplog.at_level(logging.WARNING):
        assert (await Chooser("landlock").choose()).name == "landlock"
        assert (await Chooser("unsafe-local").choose()).name == "unsafe-local"
    assert "confined by Landlock alone" in caplog.text
    assert "run unconfined" in caplog.text


class Broken:
    """A backend that cannot start anything."""

    name = "broken"
    warning = None

    def prepare(self, job: Job) -> Launch:
        return Launch(["/bin/sh", "-c", "echo no namespaces here >&2; exit 1"])


async def test_a_backend_that_does_not_work_is_found_out() -> None:
    assert await try_out(Broken()) == "no namespaces here"
    assert await try_out(BACKEND) is None


async def test_bounds_are_of_each_program() -> None:
    one, two = await asyncio.gather(
        run(BACKEND, shell("sleep 9", bounds=Bounds(seconds=0.2))), run(BACKEND, shell("true"))
    )
    assert (one.ending, two.ending) == ("timeout", "exited")
