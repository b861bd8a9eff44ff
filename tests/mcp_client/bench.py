"""Pools and endpoints for tests, servers as programs, and what must be left of them: nothing."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import psutil
from mcp import Client

from agentsite.connections.targets import parse_target
from agentsite.connections.transport import GuardedTransport
from agentsite.mcp_client.endpoint import Endpoint, Key
from agentsite.mcp_client.listing import Listing
from agentsite.mcp_client.pool import Pool
from tests.wire_client import eventually

HERE = Path(__file__).parent
PATIENCE = 30.0
"""Seconds against hangs; the machine may be busy."""

LIBC = ctypes.CDLL(None, use_errno=True)
IN_MODIFY, IN_CREATE = 0x2, 0x100


def make_transport(url: str) -> httpx2.AsyncBaseTransport:
    return GuardedTransport(frozenset({parse_target(url).origin}))


def local(folder: Path, program: str = "plain.py", name: str = "plain", **env: str) -> Endpoint:
    """A server that is a process."""
    return Endpoint(
        name,
        "stdio",
        command=sys.executable,
        args=(str(HERE / program), "stdio"),
        env=(("TOY_FOLDER", str(folder)), *sorted(env.items())),
        folder=str(folder),
    )


def web(port: int, transport: Any = "http", path: str = "/mcp", **headers: str) -> Endpoint:
    """A server that is an address."""
    url = f"http://127.0.0.1:{port}{path}"
    return Endpoint("web", transport, url=url, headers=tuple(sorted(headers.items())))


class Bench:
    """A pool, and what was taken down of listings."""

    def __init__(self, **options: Any) -> None:
        self.noted: list[tuple[Key, Listing]] = []
        self.pool = Pool(make_transport, self.note, **{"open_s": PATIENCE, **options})

    async def note(self, key: Key, endpoint: Endpoint, listing: Listing) -> None:
        self.noted.append((key, listing))

    async def list(self, endpoint: Endpoint, scope: str = "") -> Listing:
        return await self.pool.listing(Key("desk", endpoint.name, scope), endpoint)

    async def call(
        self, endpoint: Endpoint, tool: str, scope: str = "", /, **arguments: Any
    ) -> types.CallToolResult:
        """Call a tool over the pool."""

        async def work(client: Client) -> types.CallToolResult:
            return await client.call_tool(tool, arguments)

        return await self.pool.request(Key("desk", endpoint.name, scope), endpoint, work)

    async def say(self, endpoint: Endpoint, tool: str, scope: str = "", /, **given: Any) -> str:
        """The text that a tool answers."""
        result = await self.call(endpoint, tool, scope, **given)
        assert isinstance(result.content[0], types.TextContent)
        return result.content[0].text


@contextmanager
def program(folder: Path, *words: str) -> Iterator[int]:
    """A server that listens, as a process; its port."""
    with subprocess.Popen(
        [sys.executable, *words],
        env={"TOY_FOLDER": str(folder)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """After the block there are the tasks, processes and descriptors that were there before."""
    ours = psutil.Process()
    tasks = asyncio.all_tasks()
    processes = set(ours.children(recursive=True))
    open_files = ours.num_fds()
    yield

    async def all_closed() -> bool:
        return ours.num_fds() <= open_files

    await eventually(all_closed, PATIENCE)  # closed a moment later, and nobody tells
    assert asyncio.all_tasks() - {asyncio.current_task()} <= tasks
    assert set(ours.children(recursive=True)) <= processes


def lines(folder: Path, name: str) -> list[str]:
    """What a server has noted."""
    file = folder / name
    return file.read_text().split("\n")[:-1] if file.exists() else []


@contextmanager
def watching(folder: Path) -> Iterator[asyncio.Event]:
    """An event that is set whenever another process writes into a file of the folder."""
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    number = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert number >= 0, os.strerror(ctypes.get_errno())

    def take() -> None:
        os.read(number, 65_536)
        changed.set()

    try:
        wanted = IN_MODIFY | IN_CREATE
        assert LIBC.inotify_add_watch(number, os.fsencode(folder), wanted) >= 0
        loop.add_reader(number, take)
        yield changed
    finally:
        loop.remove_reader(number)
        os.close(number)


async def until_noted(folder: Path, name: str, count: int = 1) -> list[str]:
    """Wait until a server has noted so much."""
    with watching(folder) as changed:
        async with asyncio.timeout(PATIENCE):
            while len(found := lines(folder, name)) < count:
                await changed.wait()
                changed.clear()
    return found
