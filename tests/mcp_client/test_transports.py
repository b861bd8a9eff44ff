"""Servers of our own over every transport: 2026-07-28 by the SDK, 2025-11-25 by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client

from agentsite.mcp_client.endpoint import Key
from agentsite.mcp_client.errors import Unavailable
from tests.mcp_client.bench import HERE as PROGRAMS, Bench, lines, local, program, until_noted, web
from tests.requirements import requirement


@requirement("agent.mcp-transports")
async def test_a_process_of_the_new_protocol(bench: Bench, tmp_path: Path) -> None:
    server = local(tmp_path, "toy.py", "toy")
    listing = await bench.list(server)
    assert (listing.protocol, listing.software) == ("2026-07-28", "toy 1.2")
    assert await bench.say(server, "add", a=2, b=3) == "5"


@requirement("agent.mcp-transports", "agent.mcp-credentials")
async def test_streamable_http_of_the_new_protocol(
    bench: Bench, toy_http: tuple[int, Path]
) -> None:
    servers = {scope: web(toy_http[0], **{"X-Token": f"of-{scope}"}) for scope in ("a", "b")}
    heard = [
        await bench.say(server, "heard", scope, name="x-token") for scope, server in servers.items()
    ]
    assert heard == ["of-a", "of-b"]
    assert {listing.protocol for _, listing in bench.noted} == {"2026-07-28"}


@requirement("agent.mcp-transports")
async def test_streamable_http_of_the_old_protocol(
    bench: Bench, plain_http: tuple[int, Path]
) -> None:
    port, folder = plain_http
    server = web(port, **{"X-Token": "t1"})
    assert (await bench.list(server)).protocol == "2025-11-25"
    assert await bench.say(server, "echo", z="over http") == "over http"
    assert "t1" in lines(folder, "headers")


@requirement("agent.mcp-transports")
async def test_sse(bench: Bench, tmp_path: Path) -> None:
    with program(tmp_path, str(PROGRAMS / "toy.py"), "sse", "0") as port:
        server = web(port, "sse", "/sse", **{"X-Token": "sent"})
        assert (await bench.list(server)).software == "toy 1.2"
        assert await bench.say(server, "heard", name="x-token") == "sent"
        await bench.pool.close()


@requirement("agent.mcp-cancel", "agent.mcp-progress")
@pytest.mark.parametrize("how", ["http", "stdio"])
async def test_progress_comes_and_a_cancelled_call_stops(
    bench: Bench, toy_http: tuple[int, Path], tmp_path: Path, how: str
) -> None:
    port, folder = toy_http
    server = web(port) if how == "http" else local(tmp_path, "toy.py")
    folder = folder if how == "http" else tmp_path
    told: asyncio.Queue[tuple[float, float | None, str | None]] = asyncio.Queue()

    async def work(client: Client) -> types.CallToolResult:
        async def show(*progress: float | str | None) -> None:
            told.put_nowait(progress)  # type: ignore[arg-type]

        return await client.call_tool("slow", {}, progress_callback=show)

    before = len(lines(folder, "cancelled"))
    call = asyncio.create_task(bench.pool.request(Key("desk", server.name, ""), server, work))
    assert await told.get() == (1, 4, "begun")
    call.cancel()
    await asyncio.wait({call})
    await until_noted(folder, "cancelled", before + 1)


async def test_secrets_are_not_in_what_is_told(bench: Bench, tmp_path: Path) -> None:
    server = local(tmp_path, TOKEN="hidden-token", TOY_MODE="dead")
    script = "import os, sys; sys.exit('bad ' + os.environ['TOKEN'])"
    server = type(server)("x", "stdio", server.command, ("-c", script), server.env, str(tmp_path))
    with pytest.raises(Unavailable, match=r"bad \[redacted\]"):
        await bench.list(server)
    assert "hidden-token" not in repr(server)
