"""Nothing gets out of a sandbox: files, network, processes, kernel; whatever confines it."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentsite.sandbox.base import Backend, Bounds, Job
from agentsite.sandbox.bwrap import Bubblewrap
from agentsite.sandbox.landlock import Landlock
from agentsite.sandbox.process import run
from tests.requirements import requirement
from tests.sandbox.escapes import FILES, KERNEL, NETWORK, OPEN, PROCESSES

BACKENDS: dict[str, Backend] = {"bwrap": Bubblewrap(), "landlock": Landlock()}
PYTHON = {**NETWORK, **PROCESSES, **KERNEL}
FAMILIES = {"files": FILES, "network": NETWORK, "processes": PROCESSES, "kernel": KERNEL}
"""The attempts of a family share a sandbox, each in a process of its own."""


@pytest.fixture(scope="module")
def world(open_folder: Path) -> Iterator[dict[str, str]]:
    """Things of this machine that must be out of reach, though all users may see them."""
    folder = open_folder
    secret = folder / "secret.txt"
    secret.write_text("TREASURE")
    secret.chmod(0o644)
    folder.chmod(0o777)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        subprocess.Popen(["sleep", "600"], env={"TREASURE": "TREASURE"}) as process,
    ):
        port = listening.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        threading.Thread(target=_answer, args=(datagrams,), daemon=True).start()
        abstract.bind(f"\0agentsite-{port}")
        abstract.listen()
        named.bind(str(folder / "socket"))
        named.listen()
        (folder / "socket").chmod(0o777)
        yield {
            "secret": str(secret),
            "folder": str(folder),
            "port": str(port),
            "pid": str(process.pid),
            "server": str(os.getpid()),
        }
        process.kill()


def _answer(datagrams: socket.socket) -> None:
    with suppress(OSError):
        while True:
            _, sender = datagrams.recvfrom(9)
            datagrams.sendto(b"y", sender)


def fill(program: str, world: dict[str, str]) -> str:
    for name, value in world.items():
        program = program.replace(f"{{{name}}}", value)
    return program


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def lay_out(programs: dict[str, str], world: dict[str, str], folder: Path) -> dict[str, Path]:
    """A file for each program, and one that tries them all and names those that got through."""
    files = {"data.txt": write(folder / "data.txt", "data")}
    lines = ["TOOL=$(dirname $0); export TOOL"]
    for number, (name, program) in enumerate(programs.items()):
        python = program in PYTHON.values()
        file = f"{number}.py" if python else f"{number}.sh"
        files[file] = write(folder / file, fill(program, world))
        runner = "python3 -I" if python else "sh"
        lines.append(f"{runner} $TOOL/{file} 2>/dev/null | grep -q ESCAPED && echo '{name}'")
    lines.append("echo THROUGH")
    files["all.sh"] = write(folder / "all.sh", "\n".join(lines))
    return files


@requirement("agent.escapes")
@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
async def test_no_way_out(
    family: dict[str, str], backend: Backend, world: dict[str, str], tmp_path: Path
) -> None:
    files = lay_out(family, world, tmp_path)
    job = Job(["/bin/sh", "/tool/all.sh"], files=files, bounds=Bounds(seconds=30))
    outcome = await run(backend, job)
    came_out = outcome.stdout.decode().splitlines()
    assert (outcome.ending, came_out.pop()) == ("exited", "THROUGH")
    assert came_out == [OPEN], "all attempts were made, and none came out"


def test_the_table_is_long_and_well_formed(world: dict[str, str]) -> None:
    assert len(FILES) + len(PYTHON) >= 80
    assert sum(map(len, FAMILIES.values())) == len(FILES) + len(PYTHON) + 2, "names are met once"
    for program in PYTHON.values():
        ast.parse(fill(program, world))


OUTSIDE = (
    "secret by path", "secret through its folder", "secret by dots", "secret by a link",
    "write to the host", "loopback of the host", "loopback by 0", "datagram to the host",
    "netlink", "abstract socket of the host", "socket file of the host",
    "signal a process of the host", "signal the server", "see its command line",
    "read its memory", "memory file", "shared memory", "message queue",
)  # fmt: skip
"""What any user of any machine may do."""


@pytest.mark.parametrize("name", [OPEN, *OUTSIDE])
def test_the_table_would_tell(name: str, world: dict[str, str], tmp_path: Path) -> None:
    """Outside these attempts succeed: they try what they say."""
    program = fill(PYTHON.get(name) or FILES[name], world)
    runner = ["python3", "-I"] if name in PYTHON else ["sh"]
    ran = subprocess.run([*runner, "-c", program], capture_output=True, check=False, cwd=tmp_path)
    assert b"ESCAPED" in ran.stdout, ran.stderr
