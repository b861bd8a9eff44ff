"""Tools of type chain, against a server on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsite.connections.caller import Caller
from agentsite.connections.client import close_guarded_client
from tests.connections.desk import Desk, answer
from tests.connections.site import Site, serve_site
from tests.requirements import requirement

CHAIN: dict[str, Any] = {
    "description": "Look at a customer",
    "type": "chain",
    "steps": [
        {"name": "who", "connection": "crm", "endpoint": "/customers/{{id}}"},
        {
            "name": "deals",
            "connection": "crm",
            "endpoint": "/deals",
            "params": {"customer": "{{id}}"},
        },
        {"name": "note", "connection": "crm", "endpoint": "/notes", "method": "POST", "data": {}},
    ],
}
RULES = {"endpoints": {"POST /notes": {"confirm": True, "reason": "Ask first"}}}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as site:
        site.pages["/customers/7"] = answer({"name": "Ann"})
        site.pages["/deals"] = answer([{"id": 1}, {"id": 2}])
        site.pages["/notes"] = answer({"no": "room"}, 507)
        yield site
        await close_guarded_client()


def make_desk(root: Path, site: Site, **more: Any) -> Desk:
    folder = root / "tools" / "look"
    folder.mkdir(parents=True)
    rules = {"access": more.pop("access")} if "access" in more else {}
    (folder / "tool.json").write_text(json.dumps({**CHAIN, **more}))
    return Desk(root, site, **rules)


@requirement("agent.chain-tool")
async def test_steps_run_together_and_fail_alone(site: Site, tmp_path: Path) -> None:
    told = await make_desk(tmp_path, site).call("look", id=7)
    assert told["who"] == {"name": "Ann"}
    assert told["deals"] == [{"id": 1}, {"id": 2}]
    assert told["note"]["error"].startswith("crm answered 507")
    assert {seen.target for seen in site.seen} == {"/customers/7", "/deals?customer=7", "/notes"}


async def test_results_are_merged(site: Site, tmp_path: Path) -> None:
    merge = "{{steps.who.name}} has deal {{steps.deals.0.id}}"
    assert await make_desk(tmp_path, site, merge=merge).call("look", id=7) == "Ann has deal 1"


async def test_steps_obey_the_rules_of_their_connection(site: Site, tmp_path: Path) -> None:
    desk = make_desk(tmp_path, site, access=RULES)
    told = await desk.call("look", id=7)
    assert "needs the approval of a person" in told["note"]["error"]
    assert "/notes" not in {seen.target for seen in site.seen}
    wanted = desk.tool("look").find_question(Caller(), {"id": 7})
    assert wanted is not None
    assert (wanted.endpoint, wanted.reason) == ("/notes", "Ask first")


async def test_a_step_without_its_part_of_the_path_fails_alone(site: Site, tmp_path: Path) -> None:
    desk = make_desk(tmp_path, site, access=RULES)
    told = await desk.call("look", id="")
    assert "must not be empty" in told["who"]["error"]
    assert told["deals"] == [{"id": 1}, {"id": 2}]
    wanted = desk.tool("look").find_question(Caller(), {"id": ""})
    assert wanted is not None
    assert wanted.endpoint == "/notes"


async def test_a_chain_of_failures_fails(site: Site, tmp_path: Path) -> None:
    site.pages["/none"] = answer({"error": "gone"}, 404)
    steps = [{"name": "a", "connection": "crm", "endpoint": "/none"}]
    told = await make_desk(tmp_path, site, steps=steps).call("look")
    assert told.startswith("a: crm answered 404")
