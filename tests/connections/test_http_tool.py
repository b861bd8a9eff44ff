"""Tools of type http, and `ctx.request` of handlers, against a server on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsite.connections.caller import Caller
from agentsite.connections.client import close_guarded_client
from agentsite.host.prompt import compile_prompt
from agentsite.tools.base import Tool, ToolResult
from tests.connections.desk import Desk, answer
from tests.connections.site import Site, serve_site
from tests.requirements import requirement

TOOL = {
    "description": "Find orders",
    "type": "http",
    "connection": "crm",
    "method": "POST",
    "endpoint": "/shops/{{shop}}/orders",
    "params": {"since": "{{now_minus_24h}}", "page": "{{page}}", "label": "n-{{page}}"},
    "headers": {"X-Auth-Mode": "shop {{shop}}"},
    "data": {"shop": "{{shop}}", "flags": ["{{open}}", "{{none}}"], "text": "a {{shop}} b"},
    "parameters": {"type": "object", "properties": {"shop": {"type": "string"}}},
    "responseShaping": {"path": "orders", "pick": ["id"], "maxLength": 100},
}
RULES = {"endpoints": {"POST /shops/{id}/orders": {"confirm": True, "reason": "Ask first"}}}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as site:
        yield site
        await close_guarded_client()


def add_tool(root: Path, manifest: dict[str, Any], handler: str = "") -> None:
    folder = root / "tools" / "find_orders"
    folder.mkdir(parents=True)
    (folder / "tool.json").write_text(json.dumps(manifest))
    if handler:
        (folder / "handler.py").write_text(handler)


@requirement("agent.http-tool")
async def test_fills_templates_without_changing_their_shape(site: Site, tmp_path: Path) -> None:
    add_tool(tmp_path, TOOL)
    desk = Desk(tmp_path, site)
    shop = '../a/b?x=1&"}'
    told = await desk.call("find_orders", shop=shop, page=2, open=True)
    assert "encoded slash" in told
    assert site.seen == []
    site.pages['/shops/a?x=1&"}/orders'] = answer({"orders": [{"id": 1, "x": 2}], "y": 1})
    told = await desk.call("find_orders", shop='a?x=1&"}', page=2, open=True)
    assert told == [{"id": 1}]
    (seen,) = site.seen
    assert json.loads(seen.body) == {
        "shop": 'a?x=1&"}',
        "flags": [True],
        "text": 'a a?x=1&"} b',
    }
    assert seen.headers["x-auth-mode"] == 'shop a?x=1&"}'
    assert "page=2&label=n-2" in seen.target
    site.pages["/shops/b/orders"] = answer({"error": "no such shop"}, 404)
    assert await desk.call("find_orders", shop="b") == "crm answered 404: no such shop"


@pytest.mark.parametrize("arguments", [{}, {"shop": ""}, {"shop": None}])
async def test_a_part_of_the_path_is_never_empty(
    site: Site, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    add_tool(tmp_path, {**TOOL, "parameters": {"type": "object"}, "endpoint": "/shops/{{shop}}"})
    desk = Desk(tmp_path, site, access=RULES)
    assert "must not be empty" in await desk.call("find_orders", **arguments)
    assert desk.tool("find_orders").find_question(desk.caller, arguments) is None
    told = await desk.call(
        "request", connection="crm", method="DELETE", endpoint="/shops/{shop}", params={"shop": ""}
    )
    assert "must not be empty" in told
    assert site.seen == []


async def test_obeys_the_rules_of_its_connection(site: Site, tmp_path: Path) -> None:
    add_tool(tmp_path, TOOL)
    inject = {"me": {"in": "header", "field": "X-Auth-Mode"}}
    desk = Desk(tmp_path, site, access=RULES, spec={"contextInjection": inject})
    assert "set by the server" in await desk.call("find_orders", shop="a")
    plain = {key: value for key, value in TOOL.items() if key != "headers"}
    (tmp_path / "tools/find_orders/tool.json").write_text(json.dumps(plain))
    desk = Desk(tmp_path, site, access=RULES, spec={"contextInjection": inject})
    assert "needs the approval of a person" in await desk.call("find_orders", shop="a")
    assert site.seen == []
    wanted = desk.tool("find_orders").find_question(Caller(), {"shop": "a"})
    assert wanted is not None
    assert (wanted.endpoint, wanted.reason) == ("/shops/a/orders", "Ask first")
    desk.approved = True
    site.pages["/shops/a/orders"] = answer({"orders": []})
    assert await desk.call("find_orders", shop="a") == []
    assert site.seen[0].headers["x-auth-mode"] == "7"


async def test_handlers_call_connections_under_the_same_rules(site: Site, tmp_path: Path) -> None:
    handler = """
async def handle(params, ctx):
    listed = await ctx.request("crm", "/orders", {"params": {"page": 2}})
    made = await ctx.request("crm", "/shops/1/orders", method="post", data={"a": 1})
    return [listed["status"], made["status"]]
"""
    add_tool(tmp_path, {"description": "d"}, handler)
    inject = {"me": {"in": "query", "field": "tenant_id"}}
    desk = Desk(tmp_path, site, access=RULES, spec={"contextInjection": inject})
    assert "needs the approval of a person" in await desk.call("find_orders")
    assert [seen.target for seen in site.seen] == ["/orders?page=2&tenant_id=7"]
    desk.approved = True
    assert await desk.call("find_orders") == [200, 200]
    assert site.seen[-1].headers["idempotency-key"] == "tc_1_2"


async def test_writes_of_many_items_are_confirmed_one_by_one() -> None:
    async def run(_context: Any, _arguments: dict[str, Any]) -> ToolResult:
        raise AssertionError("not to be run")

    tool = Tool("t", "t", {"type": "object"}, run, confirm=True)
    assert tool.find_problem({"rows": [{"a": 1}] * 5, "tags": ["x"] * 9}) is None
    for arguments in ({"rows": [{"a": 1}] * 6}, {"deep": {"ids": [1, 2, 3, 4, 5, 6]}}):
        assert "Make one call for each item" in (tool.find_problem(arguments) or "")
    assert Tool("t", "t", {"type": "object"}, run).find_problem({"rows": [{}] * 6}) is None


@requirement("agent.connections-told")
async def test_the_prompt_tells_of_connections(site: Site, tmp_path: Path) -> None:
    access = {
        "fieldRestrictions": [{"entity": "Deal", "field": "x", "policy": "never_retrieve"}],
        "alternativeLookups": [
            {"restrictedField": "Deal.x", "alternativeEndpoint": "GET /y", "description": "sums"}
        ],
        "rowScoping": {"Deal": {"me": {"type": "field_match", "userContextField": "me"}}},
    }
    surface = "## Included\n### GET /deals\nAll deals.\n## Excluded\n### GET /salaries\nNo.\n"
    desk = Desk(
        tmp_path,
        site,
        access=access,
        surface=surface,
        entities="A deal is a sale.",
        rules="Be kind.",
    )
    told = compile_prompt(desk.bundle)
    expected = ("# Connected systems", "## crm", "### GET /deals", "A deal is a sale.", "Be kind.")
    places = [told.index(each) for each in (*expected, "Deal.x", "In place of Deal.x use GET /y")]
    assert places == sorted(places)
    assert "salaries" not in told
    assert site.url() not in told


async def test_only_reading_calls_may_be_repeated(site: Site, tmp_path: Path) -> None:
    add_tool(tmp_path, TOOL)
    desk = Desk(tmp_path, site)
    assert desk.tool().may_retry({"method": "GET"})
    assert not desk.tool().may_retry({"method": "POST"})
    assert not desk.tool("find_orders").may_retry({})
