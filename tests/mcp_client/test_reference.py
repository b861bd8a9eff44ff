"""The public reference servers, started by the tests."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client

from agentsite.mcp_client import adapt
from agentsite.mcp_client.endpoint import Endpoint, Key
from tests.mcp_client.bench import Bench, web
from tests.mcp_client.reference import NODE
from tests.requirements import requirement

MAIN = "@modelcontextprotocol/server-everything/dist/index.js"
KEY = Key("desk", "web", "")


def everything(modules: Path) -> Endpoint:
    return Endpoint("web", "stdio", command=str(NODE), args=(str(modules / MAIN),))


@contextmanager
def everything_on_a_port(modules: Path, mode: str) -> Iterator[int]:
    """The server over HTTP; it cannot be told to choose its port."""
    port = _find_port()
    with subprocess.Popen(
        [NODE, modules / MAIN, mode],
        env={"PORT": str(port), "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if re.search(rf"(listening|running) on port {port}", line):
                    break
            yield port
        finally:
            process.kill()


def _find_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@requirement("agent.mcp-reference", "agent.mcp-results")
async def test_everything(bench: Bench, node_servers: Path) -> None:
    server = everything(node_servers)
    listing = await bench.list(server)
    assert listing.protocol == "2025-11-25"
    names = {tool.name for tool in listing.tools}
    assert {"echo", "get-sum", "list_resources", "read_resource", "get_prompt"} <= names
    assert listing.left_out == ()
    assert await bench.say(server, "get-sum", a=20, b=22) == "The sum of 20 and 22 is 42."
    picture = adapt.read_result(await bench.call(server, "get-tiny-image"))
    assert any(isinstance(each, bytes) and each.startswith(b"\x89PNG") for each in picture)
    weather = await bench.call(server, "get-structured-content", location="New York")
    assert adapt.read_result(weather) == ['{"temperature":33,"conditions":"Cloudy","humidity":82}']
    bad = await bench.call(server, "get-sum", a="x")
    assert bad.is_error


@requirement("agent.mcp-reference", "agent.mcp-others")
async def test_everything_has_resources_and_prompts(bench: Bench, node_servers: Path) -> None:
    server = everything(node_servers)

    async def work(client: Client) -> tuple[types.ReadResourceResult, types.GetPromptResult]:
        resources = await client.list_resources()
        first = next(each for each in resources.resources if each.mime_type)
        prompts = (await client.list_prompts()).prompts
        plain = next(each for each in prompts if not each.arguments)
        return await client.read_resource(first.uri), await client.get_prompt(plain.name)

    resource, prompt = await bench.pool.request(KEY, server, work)
    assert str(adapt.read_resource(resource.contents)[0]).startswith("[resource ")
    assert "[user]" in adapt.read_prompt(prompt)


@requirement("agent.mcp-reference", "agent.mcp-transports")
@pytest.mark.parametrize(("mode", "transport"), [("sse", "sse"), ("streamableHttp", "http")])
async def test_everything_over_http(
    bench: Bench, node_servers: Path, mode: str, transport: str
) -> None:
    with everything_on_a_port(node_servers, mode) as port:
        server = web(port, transport, "/sse" if mode == "sse" else "/mcp")
        told: list[float] = []

        async def work(client: Client) -> types.CallToolResult:
            async def show(progress: float, *_: object) -> None:
                told.append(progress)

            given = {"duration": 0.2, "steps": 2}
            name = "trigger-long-running-operation"
            return await client.call_tool(name, given, progress_callback=show)

        result = await bench.pool.request(KEY, server, work)
        assert not result.is_error
        assert told == [1, 2]
        await bench.pool.close()


@requirement("agent.mcp-reference")
async def test_time(bench: Bench, python_servers: Path) -> None:
    server = Endpoint("web", "stdio", command=str(python_servers / "mcp-server-time"))
    await bench.list(server)
    given = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    said = await bench.say(server, "convert_time", **given)
    assert "21:00" in said


@requirement("agent.mcp-reference")
async def test_fetch(bench: Bench, python_servers: Path, plain_http: tuple[int, Path]) -> None:
    fetch = str(python_servers / "mcp-server-fetch")
    server = Endpoint("web", "stdio", command=fetch, args=("--ignore-robots-txt",))
    url = f"http://127.0.0.1:{plain_http[0]}/sessions"
    said = await bench.say(server, "fetch", url=url, raw=True)
    assert re.search(r"\b\d+\b", said)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a new file."""
    subprocess.run(["git", "init", "-q", "-b", "trunk", tmp_path], check=True)
    (tmp_path / "new.txt").write_text("new")
    return tmp_path


@requirement("agent.mcp-reference")
async def test_git(bench: Bench, python_servers: Path, repository: Path) -> None:
    git = str(python_servers / "mcp-server-git")
    server = Endpoint("web", "stdio", command=git, args=("--repository", str(repository)))
    listing = await bench.list(server)
    reads = {t.name for t in listing.tools if t.annotations.get("readOnlyHint")}
    assert "git_status" in reads
    assert "git_commit" not in reads
    assert "new.txt" in await bench.say(server, "git_status", repo_path=str(repository))
