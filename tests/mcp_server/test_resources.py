"""Stores as resources: the documents, checks and words of REST."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from mcp.shared.exceptions import MCPError

from tests.mcp_server.speaking import MODES, read, speak
from tests.requirements import requirement
from tests.server import Client
from tests.servers import Server

STORE = "return-requests"


def fill(client: Client) -> list[str]:
    """Three documents; their keys."""
    keys = []
    for order in ("1", "2", "3"):
        body: dict[str, Any] = {
            "order_number": order,
            "item": "a lamp/shade",
            "reason": f"Reason {order}",
        }
        body |= {"used": False, "state": "requested"}
        stored = client.ask("POST", f"/api/stores/{STORE}", body)
        assert stored.status == 201, stored.body
        keys.append(stored.json["key"])
    return keys


@requirement("mcp.resources")
@pytest.mark.parametrize("mode", MODES)
async def test_stores_are_listed_and_read_as_over_rest(server: Server, mode: str) -> None:
    client = Client(server, f"stored-{mode}", "desk")
    keys = fill(client)
    async with speak(f"{server.url}/mcp/desk?scope_id={client.scope}", mode) as mcp:
        [listed] = (await mcp.list_resources()).resources
        assert (listed.uri, listed.name) == (f"store://{STORE}", STORE)
        templates = (await mcp.list_resource_templates()).resource_templates
        assert [each.name for each in templates] == ["document", "documents"]
        assert await read(mcp, f"store://{STORE}") == client.get(f"/api/stores/{STORE}")
        for query in (
            "limit=2",
            "sort=order_number",
            "search=Reason&limit=1",
            'filter={"order_number":"2"}',
        ):
            there = client.get(f"/api/stores/{STORE}", **dict(
                pair.split("=", 1) for pair in query.split("&")
            ))  # fmt: skip
            assert await read(mcp, f"store://{STORE}?{query}") == there, query
            assert there["documents"]
        page = await read(mcp, f"store://{STORE}?limit=2")
        rest = await read(mcp, f"store://{STORE}?limit=2&cursor={quote(page['cursor'])}")
        assert {d["key"] for d in page["documents"] + rest["documents"]} == set(keys)
        for key in keys:
            there = client.get(f"/api/stores/{STORE}/{quote(key)}")
            assert await read(mcp, f"store://{STORE}/{quote(key, safe='')}") == there


@requirement("mcp.resources")
@pytest.mark.parametrize("mode", MODES)
async def test_what_rest_refuses_is_refused(server: Server, mode: str) -> None:
    client = Client(server, f"refused-{mode}", "desk")
    [key, *_] = fill(client)
    other = Client(server, f"{client.scope}-other", "desk")
    async with speak(f"{server.url}/mcp/desk?scope_id={other.scope}", mode) as mcp:
        for uri, code in (
            (f"store://{STORE}/{key}", "document_not_found"),
            (f"store://{STORE}/nothing", "document_not_found"),
            ("store://nothing", "store_not_found"),
            ("store://nothing/x", "store_not_found"),
            (f"store://{STORE}?limit=0", "invalid_field"),
            (f"store://{STORE}?limit=many", "invalid_field"),
            (f"store://{STORE}?filter={{", "invalid_query"),
            (f"store://{STORE}?filter=" + quote('{"a": {"$bad": 1}}'), "invalid_query"),
            (f"store://{STORE}?agentId=trials", "unknown_field"),
            (f"store://{STORE}?scope_id={client.scope}", "unknown_field"),
            (f"store://{STORE}/{key}?scope_id={client.scope}", "invalid_query"),
            (f"store://{STORE}?similar=x", "invalid_query"),
            ("file:///etc/passwd", "resource_not_found"),
            (f"STORE://{STORE}", "resource_not_found"),
            ("store://", "resource_not_found"),
        ):
            assert await find_code(mcp, uri) == code, uri
        assert (await read(mcp, f"store://{STORE}"))["documents"] == []


async def find_code(mcp: Any, uri: str) -> str:
    with pytest.raises(MCPError) as caught:
        await mcp.read_resource(uri)
    return str(caught.value.error.data["code"])
