"""Limits per host hold for every tool that calls a connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from agentsite.connections.client import close_guarded_client
from agentsite.engine.messages import ToolCallPart
from agentsite.tools.limits import BUSY, HOST_AT_ONCE, Limits
from tests.connections.desk import Desk
from tests.connections.site import Site, serve_site
from tests.requirements import requirement
from tests.tools.runs import Runner

CALL = {"connection": "crm", "method": "GET", "endpoint": "/a"}
HTTP = {"description": "d", "type": "http", "connection": "crm", "method": "GET", "endpoint": "/a"}
STEP = {"name": "a", "connection": "crm", "endpoint": "/a"}
CHAIN = {"description": "d", "type": "chain", "steps": [STEP]}
HANDLER = "async def handle(params, ctx):\n    return await ctx.request('crm', '/a')\n"
THREAD = (
    "import asyncio\ndef handle(params, ctx):\n    return asyncio.run(ctx.request('crm', '/a'))\n"
)
TOOLS: dict[str, dict[str, Any]] = {
    "plain": {"tool.json": HTTP},
    "chain": {"tool.json": CHAIN},
    "handler": {"tool.json": {"description": "d"}, "handler.py": HANDLER},
    "thread": {"tool.json": {"description": "d"}, "handler.py": THREAD},
}
NAMES = ["request", *TOOLS]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as site:
        yield site
        await close_guarded_client()


def make_desk(root: Path, site: Site, **spec: Any) -> Desk:
    for name, files in TOOLS.items():
        folder = root / "tools" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / file).write_text(text)
    return Desk(root, site, spec=spec)


async def run(desk: Desk, limits: Limits, *names: str, seconds: float = 5) -> dict[str, str]:
    """Call tools at once; the texts of their results by the tool."""
    runner = Runner(desk.contexts)
    parts = [ToolCallPart(f"tc_{name}", name, CALL if name == "request" else {}) for name in names]
    tools = [desk.tool(name) for name in names]
    await runner.run_parts(
        tools, parts, limits=limits, agent="desk", timeout_s=seconds, backoff_s=()
    )
    return {name.removeprefix("tc_"): each.result.text for name, each in runner.settled}


@requirement("runs.tool-rates")
@pytest.mark.parametrize("name", NAMES)
async def test_calls_of_all_tools_count_for_the_rate_of_a_host(
    site: Site, tmp_path: Path, name: str
) -> None:
    desk = make_desk(tmp_path, site, rateLimit={"calls": 2, "seconds": 3600})
    limits = Limits()
    told = await run(desk, limits, "request", "plain")
    assert len(site.seen) == 2, told
    told = await run(desk, limits, name)
    assert "The limit of 2 calls in 3600 s is reached" in told[name]
    assert len(site.seen) == 2


@requirement("runs.tool-limits")
@pytest.mark.parametrize("name", NAMES)
async def test_calls_of_all_tools_take_places_at_their_host(
    site: Site, tmp_path: Path, name: str
) -> None:
    desk, limits = make_desk(tmp_path, site), Limits()
    async with AsyncExitStack() as others:
        for _ in range(HOST_AT_ONCE):
            await others.enter_async_context(limits.reach("other", site.host, None, 1))
        told = await run(desk, limits, name, seconds=0.2)
    assert BUSY in told[name] or "did not finish" in told[name]
    assert site.seen == []
    await run(desk, limits, name)
    assert len(site.seen) == 1
