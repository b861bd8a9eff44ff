"""Many readers, slow readers and readers who leave: nobody else notices, nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import psutil

from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.servers import Server
from tests.wire_client import BOUND, KEEPALIVE, Client, cut_frames, eventually

POOL = 8
"""Connections of a server's pool; one more listens."""
CROWD = 500
RESET = struct.pack("ii", 1, 0)
"""`SO_LINGER`: closing resets the connection, unsent bytes are thrown away."""


def count_connections(lab: Lab) -> int:
    """Connections of servers to the database."""
    found = lab.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name <> 'the test' AND pid <> pg_backend_pid()"
    )
    return int(found[0][0])


async def is_quiet(client: Client) -> bool:
    health = await client.get("/health")
    return health["live_runs"] == 0 and health["active_sessions"] == 0


def leave(port: int, request: bytes) -> None:
    """Send a request and be gone before the answer."""
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        leaving.sendall(request)


def write_request(method: str, path: str, body: bytes = b"") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@requirement("runs.leaks")
async def test_two_hundred_clients_who_leave_at_once_leave_nothing_behind(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession
) -> None:
    lab = lone_lab()
    server = await asyncio.to_thread(lab.start().wait_ready)
    client = Client(http, server.url)
    session_id = (await client.talk("Hello")).session_id
    follow = write_request("GET", f"/sessions/{session_id}/events")
    body = json.dumps({"message": "Hello", "agentId": "scripted"}).encode()
    say = write_request("POST", "/chat/stream", body)
    await eventually(lambda: is_quiet(client))
    before = psutil.Process(server.process.pid).num_fds()
    for request in (say, follow):
        for _ in range(100):
            leave(server.port, request)
    await eventually(lambda: is_quiet(client))
    runs = lab.query("SELECT status, count(*) FROM sessions_app_run GROUP BY status")
    assert [status for status, _ in runs] == ["done"]
    assert count_connections(lab) <= POOL + 1
    assert psutil.Process(server.process.pid).num_fds() <= before + POOL + 4
    assert (await client.talk("Still there?")).reason == "model_stop"


def list_transactions(lab: Lab) -> set[tuple[Any, ...]]:
    """Open transactions: process, beginning, application and last statement of each."""
    rows = lab.query(
        "SELECT pid, xact_start::text, application_name, left(query, 200) FROM pg_stat_activity"
        " WHERE datname = current_database() AND xact_start IS NOT NULL"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return set(rows)


async def all_end(lab: Lab, seen: set[tuple[Any, ...]]) -> bool:
    """Whether none of these transactions is still open; those that began since do not count."""
    open_now = {(pid, began) for pid, began, *_ in list_transactions(lab)}
    return not any((pid, began) in open_now for pid, began, *_ in seen)


@requirement("runs.no-connection")
async def test_hundreds_of_streams_hold_no_connection_and_disturb_nobody(
    lone_lab: Callable[..., Lab], http: aiohttp.ClientSession, gates: Gates
) -> None:
    lab = lone_lab(KEEPALIVE_SECONDS="15")  # idle streams, as they are, not as other tests need
    client = Client(http, (await asyncio.to_thread(lab.start().wait_ready)).url)
    async with client.stream(plan({"tools": [call("gate", port=gates.port)]})) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        session_id = stream.session_id
        async with AsyncExitStack() as crowd:
            for _ in range(CROWD // 50):
                opened = (crowd.enter_async_context(client.follow(session_id)) for _ in range(50))
                streams = await asyncio.gather(*opened)
                await asyncio.gather(*(each.until(lambda s: s.frames) for each in streams))
            assert count_connections(lab) <= (POOL + 1) * len(lab.servers)
            seen = list_transactions(lab)
            await eventually(lambda: all_end(lab, seen))  # a stream's own would not
            async with asyncio.timeout(BOUND):
                for _ in range(20):
                    await client.get("/sessions?limit=1")
            gate.open()
            await stream.to_end()
            await asyncio.gather(*(each.event("done") for each in streams))
    await eventually(lambda: is_quiet(client))


@requirement("runs.slow-reader")
async def test_a_slow_reader_misses_nothing_and_slows_nobody(
    client: Client, lab: Lab, neighbour: Server
) -> None:
    message = plan({"deltas": 6_000, "chars": 1_000})
    process = psutil.Process(lab.servers[0].process.pid)
    loop = asyncio.get_running_loop()
    async with client.stream(message) as stream:
        await stream.until(lambda stream: stream.frames)
        path = f"/sessions/{stream.session_id}/events"
        slow = [open_slowly(server.port, path) for server in (lab.servers[0], neighbour)]
        before = process.memory_info().rss
        for each in slow:
            await loop.sock_recv(each, 1024)
        await stream.to_end(30)
        grown = process.memory_info().rss - before
    assert grown < 60 * 1024**2, f"{grown / 1024**2:.0f} MB for readers who do not read"
    for each in slow:
        raw = await asyncio.wait_for(read_slowly(loop, each, stream.last_id), 30)
        frames = cut_frames(raw)[0]
        missing = {frame.id for frame in stream.frames} - {frame.id for frame in frames}
        assert missing <= {1, 2, 3}  # the first kilobyte was read before
        each.close()


def open_slowly(port: int, path: str) -> socket.socket:
    """A reader with hardly any room of its own."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    reader.sendall(write_request("GET", path))
    reader.setblocking(False)
    return reader


async def read_slowly(
    loop: asyncio.AbstractEventLoop, reader: socket.socket, last_id: int
) -> bytes:
    """Read until a frame with this number is there; whole frames without HTTP's chunk sizes."""
    raw = bytearray()
    ending = b"id: %d\n" % last_id
    while ending not in raw[-20_000:] or not raw.endswith(b"\n\n\r\n"):
        raw += await loop.sock_recv(reader, 65536)
    lines = bytes(raw).split(b"\r\n")
    body = b"".join(line for line in lines if line.endswith(b"\n") or b": " in line)
    start = body.index(b"\n\nid: ") + 2
    return body[start:].replace(KEEPALIVE, b"")
