"""Listings, names and results as values: nothing of a server is changed, nothing gets through."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from pydantic import SecretStr

from agentsite.manifest.mcp import McpServer
from agentsite.mcp_client import adapt
from agentsite.mcp_client.endpoint import needs_scope, settle
from agentsite.mcp_client.errors import Unavailable
from agentsite.mcp_client.listing import find_problem, offer
from agentsite.mcp_client.names import name_tool
from tests.mcp_client.bench import Bench, local
from tests.requirements import requirement

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 9


def tool(**changes: Any) -> types.Tool:
    schema = {"type": "object", "properties": {"z": {}, "a": {"$ref": "#/$defs/x"}}}
    given = {"name": "t", "description": "d", "inputSchema": schema, **changes}
    return types.Tool.model_validate(given)


@requirement("agent.mcp-listing")
def test_schemas_come_through_as_they_are() -> None:
    offered = offer(tool(annotations={"readOnlyHint": True}, title="T"))
    assert list(offered.parameters["properties"]) == ["z", "a"]
    assert offered.annotations == {"readOnlyHint": True, "title": "T"}


@requirement("agent.mcp-listing")
@pytest.mark.parametrize(
    "changes",
    [
        {"description": "other"},
        {"inputSchema": {"type": "object", "properties": {"a": {}, "z": {}}}},
        {"annotations": {"readOnlyHint": False}},
        {"title": "other"},
    ],
)
def test_every_change_is_another_digest(changes: dict[str, Any]) -> None:
    assert offer(tool(**changes)).digest != offer(tool()).digest
    assert offer(tool()).digest == offer(tool()).digest


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"inputSchema": {"type": "array"}}, "does not describe an object"),
        ({"inputSchema": {"type": "object", "required": 7}}, "is no JSON schema"),
        ({"description": "x" * 70_000}, "more than"),
        ({"description": "a\x00b"}, "NUL"),
        ({"description": "a\ud800b"}, "half characters"),
        ({"name": ""}, "its name"),
        ({"name": "taken"}, "listed twice"),
        ({}, None),
    ],
)
def test_what_no_vendor_takes_is_left_out(changes: dict[str, Any], problem: str | None) -> None:
    found = find_problem(tool(**changes), {"taken"})
    assert (problem or "") in (found or "")
    assert (found is None) is (problem is None)


@requirement("agent.mcp-listing", "agent.mcp-names")
async def test_odd_tools_are_left_out_and_the_others_stay(bench: Bench, tmp_path: Path) -> None:
    listing = await bench.list(local(tmp_path, TOY_MODE="odd"))
    assert [each.split(":")[0] for each in listing.left_out] == ["wrong"]
    assert listing.digest("a.b/c") is not None


async def test_a_listing_that_breaks_the_protocol_is_told_of(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"its answer breaks the protocol at .*inputSchema"):
        await bench.list(local(tmp_path, TOY_MODE="alien"))


@requirement("agent.mcp-names")
def test_names_fit_every_vendor_and_differ() -> None:
    assert name_tool("desk", "get-sum") == "desk__get-sum"
    names = {name_tool("desk", each) for each in ("a.b", "a/b", "a_b", "x" * 90, "x" * 91, "ä")}
    assert len(names) == 6
    assert all(len(name) <= 64 and name.isascii() for name in names)


def content(*blocks: dict[str, Any], **more: Any) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": list(blocks), **more})


@requirement("agent.mcp-results")
def test_results_are_told_in_order() -> None:
    png = base64.b64encode(PNG).decode()
    result = content(
        {"type": "text", "text": "before"},
        {"type": "image", "data": png, "mimeType": "image/png"},
        {"type": "audio", "data": png, "mimeType": "audio/wav"},
        {"type": "resource", "resource": {"uri": "x://a", "text": "inside", "mimeType": "a/b"}},
        {"type": "resource", "resource": {"uri": "x://b", "blob": png, "mimeType": "image/png"}},
        {"type": "resource", "resource": {"uri": "x://c", "blob": png}},
        {"type": "resource_link", "uri": "x://d", "name": "d", "description": "more"},
        {"type": "image", "data": "?", "mimeType": "image/png"},
        structuredContent={"a": [1]},
    )
    assert adapt.read_result(result) == [
        "before",
        PNG,
        "[audio, audio/wav: it cannot be shown here]",
        "[resource x://a, a/b]",
        "inside",
        PNG,
        f"[resource x://c, no type, {len(png) * 3 // 4} bytes: not text]",
        "[resource x://d (d): more]",
        "[image not readable: image/png]",
        '{"a": [1]}',
    ]


@requirement("agent.mcp-results")
@pytest.mark.parametrize(
    ("text", "structured"), [('{"b": 1, "a": 2}', {"a": 2, "b": 1}), ("5", {"result": 5})]
)
def test_structured_content_is_told_once(text: str, structured: dict[str, Any]) -> None:
    result = content({"type": "text", "text": text}, structuredContent=structured)
    assert adapt.read_result(result) == [text]


@requirement("agent.mcp-credentials")
async def test_credentials_of_a_scope_are_asked_for_by_name(tmp_path: Path) -> None:
    headers = {"A": SecretStr("plain"), "B": SecretStr("scope:KEY")}
    spec = McpServer(transport="http", url="https://x.example/mcp", headers=headers)
    assert needs_scope(spec)

    async def reveal(name: str) -> str | None:
        return {"KEY": "theirs", "BAD": "a\nb"}.get(name)

    endpoint = await settle("x", spec, tmp_path, reveal)
    assert endpoint.headers == (("A", "plain"), ("B", "theirs"))
    assert endpoint.own
    assert "theirs" not in repr(endpoint)
    for name, problem in (("NONE", 'no credential "NONE"'), ("BAD", "control characters")):
        wrong = spec.model_copy(update={"headers": {"B": SecretStr(f"scope:{name}")}})
        with pytest.raises(Unavailable, match=problem):
            await settle("x", wrong, tmp_path, reveal)
