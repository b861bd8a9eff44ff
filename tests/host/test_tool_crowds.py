"""Many tool calls of many sessions in a running server hold the limits that calls share."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession, web

from agentsite.tools.limits import HOST_AT_ONCE
from tests.connections.site import serve_site
from tests.gates import BOUND
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client

POOL = 20
HELD_S = 0.15
SMALL = (8, 20)
"""Sessions, and calls of each; with `--sessions` every session makes a hundred."""


@dataclass
class Receiver:
    """Counts the calls that are at it at the same time."""

    running: Counter[str]
    most: Counter[str]
    done: int = 0

    async def take(self, request: web.Request) -> web.StreamResponse:
        for name in (request.path, "all"):
            self.running[name] += 1
            self.most[name] = max(self.most[name], self.running[name])
        await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=HELD_S)
        self.running.subtract((request.path, "all"))
        self.done += 1
        return web.json_response({"ok": True})


def add_agent(lab: Lab) -> None:
    """An agent that is connected to the receiver under two names, which are two hosts."""
    home = lab.agents / "crowded"
    shutil.copytree(lab.agents / "plain", home)
    for name in ("one", "two"):
        folder = home / "connections" / name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps({"baseUrl": f"env:RECEIVER_{name.upper()}"}))


@requirement("runs.tool-limits")
@pytest.mark.timeout(600)
async def test_calls_of_many_sessions_hold_every_limit_of_a_server(
    lone_lab: Callable[..., Lab], http: ClientSession, pytestconfig: pytest.Config
) -> None:
    given = pytestconfig.getoption("--sessions")
    sessions, calls = (given, 100) if given else SMALL
    receiver = Receiver(Counter(), Counter())
    async with serve_site(one=receiver.take, two=receiver.take) as site:
        lab = lone_lab(
            TOOL_POOL_SIZE=str(POOL),
            RECEIVER_ONE=site.url(""),
            RECEIVER_TWO=site.url("", host="localhost"),
        )
        add_agent(lab)
        server = await asyncio.to_thread(lab.start().wait_ready)
        client = Client(http, server.url).of("crowded")
        asked = [
            call("request", connection=name, method="GET", endpoint=f"/{name}")
            for name in ["one", "two"] * (calls // 2)
        ]
        said = plan({"tools": asked}, {"text": "All done."})

        async def talk() -> Counter[str]:
            async with client.stream(said) as stream:
                await stream.to_end(BOUND + sessions * calls / 20)
            results = stream.all("tool_call_result")
            assert stream.reason == "model_stop"
            return Counter(each.data["status"] for each in results)

        told = await asyncio.gather(*(talk() for _ in range(sessions)))
    assert told == [Counter(success=calls)] * sessions
    assert receiver.done == sessions * calls
    assert max(receiver.most["/one"], receiver.most["/two"]) <= HOST_AT_ONCE
    assert HOST_AT_ONCE < receiver.most["all"] <= POOL, "the sessions share what there is"
    assert list(lab.complaints()) == []
