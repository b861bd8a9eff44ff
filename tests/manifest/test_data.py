"""Folders of JSON: connections, stores, automations."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from agentsite.manifest.loader import load
from agentsite.tools.prompt_parts import describe_connections
from tests.manifest.agents import find_messages, load_all, write_agent
from tests.requirements import requirement

MODEL = {"provider": "openai", "model": "m"}

ACCESS = {
    "endpoints": {
        "POST /refunds": {
            "returns": ["Refund"],
            "confirm": True,
            "reason": "money",
            "thresholds": [{"field": "body.amount", "above": 500, "escalate": "review"}],
        }
    },
    "fieldRestrictions": [
        {"entity": "Contact", "field": "ssn", "policy": "never_retrieve", "sensitivity": "pii"}
    ],
    "rowScoping": {"Deal": {"owner_id": {"type": "field_match", "userContextField": "id"}}},
    "delegations": {"escalateConfirm": True},
    "alternativeLookups": [
        {"restrictedField": "Contact.ssn", "alternativeEndpoint": "GET /contacts/{id}/check"}
    ],
}
STORE: dict[str, Any] = {
    "name": "open-orders",
    "entity": {
        "name": "Order",
        "key": "{number}",
        "schema": {
            "number": {"type": "string"},
            "total": {"type": "number", "min": 0, "nullable": True},
            "state": {"type": "enum", "values": ["new", "sent"]},
            "lines": {
                "type": "array",
                "item": {"type": "object", "fields": {"of": {"type": "ref", "store": "items"}}},
            },
        },
    },
    "ttl": {"default": 60, "override": [{"condition": "state IN ['new','sent']", "ttl": 5}]},
    "failure": {"mode": "all-or-nothing", "retries": 2, "backoff": "linear", "deadLetter": True},
    "history": {"versions": 3},
    "trace": True,
    "shared": True,
    "embed": ["number"],
}
ITEMS = {
    "name": "items",
    "entity": {"name": "I", "key": "{k}", "schema": {"k": {"type": "string"}}},
}
EMBEDDING = {"embedding": {"provider": "openai", "model": "m"}}
KEY = {"OPENAI_API_KEY": "key-o"}
AUTOMATION: dict[str, Any] = {
    "title": "Morning",
    "prompt": "Look at {{event}}",
    "schedule": "0 9 * * 1-5",
    "timezone": "Europe/Berlin",
    "overlap": "queue",
    "catchUp": "all",
    "writeEnabled": True,
    "delivery": {"targets": [{"type": "slack", "url": "env:HOOK"}], "includeResult": False},
    "failureAlert": {"after": 2, "targets": [{"type": "email", "to": ["a@b.example"]}]},
}


def test_connection_with_all_files(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "connections/crm/spec.json": {"baseUrl": "https://crm.example", "testPath": "/me"},
            "connections/crm/access.json": ACCESS,
            "connections/crm/surface.md": "## Included\n### GET /contacts\nAll of them",
            "connections/crm/rules.md": "Be kind.",
            "connections/hub/spec.json": {
                "protocol": "mcp",
                "transport": "http",
                "url": "https://hub.example/mcp",
            },
        },
    )
    crm, hub = load_all(root).connections
    endpoint = crm.access.endpoints["POST /refunds"]
    assert (endpoint.confirm, endpoint.thresholds[0].above) == (True, 500)
    assert crm.access.row_scoping["Deal"]["owner_id"].user_context_field == "id"
    assert (crm.rules, crm.entities) == ("Be kind.", "")
    assert hub.spec.protocol == "mcp"


@requirement("agent.mcp-manifest")
def test_an_mcp_connection_is_a_server(tmp_path: Path) -> None:
    hub = {"protocol": "mcp", "transport": "http", "url": "https://hub.example/mcp"}
    files: dict[str, Any] = {
        "connections/hub/spec.json": hub,
        "connections/hub/rules.md": "Ask first.",
    }
    servers = {"tools": {"transport": "stdio", "command": "x"}}
    root = write_agent(tmp_path / "a", files, models={"main": MODEL}, mcp={"servers": servers})
    bundle = load(root, {"OPENAI_API_KEY": "key-o"})
    assert sorted(bundle.mcp_servers) == ["hub", "tools"]
    told = describe_connections(bundle)
    assert "hub__" in told
    assert "Ask first." in told
    assert "`request`" not in told
    files["connections/hub/access.json"] = {}
    twice = {"servers": {"hub": servers["tools"]}}
    said = find_messages(write_agent(tmp_path / "b", files, mcp=twice))
    assert any("has no effect with an MCP server" in each for each in said)
    assert any("stands in mcp.servers" in each for each in said)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("spec.json", {"baseUrl": "crm.example"}, "baseUrl: must be an http or https address"),
        ("spec.json", {}, "baseUrl: is required"),
        ("spec.json", {"baseUrl": "http://x", "sync": {"auto": True}}, "syncconnections --check"),
        ("spec.json", {"baseUrl": "http://x", "auth": {"type": "header", "token": "t"}}, "name of"),
        ("spec.json", {"protocol": "mcp", "transport": "http"}, "needs a url"),
        ("access.json", {"endpoints": {"POST /x": {"confirm": False}}}, "leave it out to allow"),
        ("access.json", {"endpoints": {"refunds": {}}}, 'should read "METHOD /path"'),
        ("access.json", {"rowScoping": {"D": {"k": {"type": "field_match"}}}}, "userContextField"),
        ("notes.txt", "x", "is not one of spec.json"),
        ("surface.md", "## Included\nnothing", "names no endpoint"),
    ],
)
def test_connection_mistakes(tmp_path: Path, file: str, content: Any, message: str) -> None:
    files: dict[str, Any] = {"connections/c/spec.json": {"baseUrl": "http://x"}}
    files[f"connections/c/{file}"] = content
    found = find_messages(write_agent(tmp_path, files))
    assert len(found) == 1
    assert message in found[0]


def test_store_with_all_keys(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path, {"stores/open-orders.json": STORE, "stores/items.json": ITEMS}, models=EMBEDDING
    )
    items, orders = load_all(root, KEY).stores
    assert items.ttl is None
    assert orders.ttl is not None
    assert (orders.ttl.default, orders.history.versions, orders.shared) == (60, 3, True)
    assert orders.entity.key_fields == ("number",)
    short = {**ITEMS, "ttl": 9}
    write_agent(root, {"stores/items.json": short}, models=EMBEDDING)
    assert load_all(root, KEY).stores[0].ttl.default == 9  # type: ignore[union-attr]  # it was just set


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "other", 'name: must be "open-orders", like the file'),
        ("entity.key", "{nothing}", 'names the field "nothing"'),
        ("entity.key", "fixed", "key names no field"),
        (
            "entity.schema.total",
            {"type": "string", "min": 1},
            "no effect on a field",
        ),
        ("entity.schema.total", {"type": "number", "min": 2, "max": 1}, "min is larger"),
        ("entity.schema.state", {"type": "enum"}, 'type enum needs "values"'),
        ("entity.schema.state", {"type": "text"}, "entity.schema.state.type: should be 'string'"),
        ("entity.schema.a-b", {"type": "string"}, "is not a field name"),
        ("entity.schema.lines", {"type": "ref", "store": "gone"}, 'there is no store "gone"'),
        ("ttl.override", [{"condition": "state ~ x", "ttl": 1}], "should read `field = 'v'`"),
        ("failure.mode", "some", "failure.mode: should be 'partial'"),
        ("embed", ["total"], "no string field"),
    ],
)
def test_store_mistakes(tmp_path: Path, path: str, value: Any, message: str) -> None:
    store = change(STORE, path, value)
    files = {"stores/open-orders.json": store, "stores/items.json": ITEMS}
    root = write_agent(tmp_path, files, models=EMBEDDING)
    found = find_messages(root, KEY)
    assert len(found) == 1
    assert message in found[0]


def test_vectors_need_a_model_that_makes_them(tmp_path: Path) -> None:
    notes = {**ITEMS, "name": "notes", "embed": ["k"]}
    root = write_agent(tmp_path / "none", {"stores/notes.json": notes})
    assert find_messages(root, KEY) == [
        "stores/notes.json embed: needs a model: add models.embedding to amodal.json"
    ]
    other = {"embedding": {"provider": "anthropic", "model": "m"}}
    root = write_agent(tmp_path / "other", {"stores/notes.json": notes}, models=other)
    found = find_messages(root, {"ANTHROPIC_API_KEY": "key-a"})
    assert [message for message in found if "embeds nothing; use openai or google" in message]
    talking: dict[str, Any] = {
        "fallback": {"provider": "google", "model": "g"},
        "temperature": 0.5,
        "thinking": 1024,
        "maxTokens": 10,
        "contextWindow": 1000,
        "api": "chat",
    }
    useless = {"embedding": {"provider": "openai", "model": "m", "timeout": 5, **talking}}
    root = write_agent(tmp_path / "useless", {"stores/notes.json": notes}, models=useless)
    reason = "has no effect on a model that makes vectors: remove it"
    assert set(find_messages(root, KEY)) == {
        f"amodal.json models.embedding.{name}: {reason}" for name in talking
    }


def test_automations_in_both_forms(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "automations/morning.json": AUTOMATION,
            "automations/hook.md": "# Automation: Hook\n\nSchedule: on webhook\n\n## Check\nLook.",
            "automations/weekly.md": "# Automation: Week\n\nSchedule: 0 6 * * 1\n\n## Check\nSum.",
            "automations/hand.json": {"title": "t", "prompt": "p"},
        },
    )
    found = {a.name: a.spec for a in load_all(root, {"HOOK": "https://hook.example/1"}).automations}
    assert {name: spec.kind for name, spec in found.items()} == {
        "morning": "cron",
        "hook": "webhook",
        "weekly": "cron",
        "hand": "manual",
    }
    assert (found["hook"].title, found["hook"].prompt) == ("Hook", "Look.")
    assert found["weekly"].schedule == "0 6 * * 1"
    delivery = found["morning"].delivery
    assert delivery is not None
    assert delivery.targets[0].url == "https://hook.example/1"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schedule", "* * * *", "must have five fields"),
        ("schedule", "61 * * * *", "is not a cron expression"),
        ("schedule", "0 9 * * 1-5 *", "must have five fields"),
        ("timezone", "Mars/Olympus", "is not a time zone"),
        ("trigger", "webhook", "cron needs one"),
        ("mode", "async", "with trigger webhook only"),
        ("delivery.targets", [{"type": "slack"}], 'a slack target needs "url"'),
        ("delivery.targets", [{"type": "callback", "url": "http://x"}], "no effect on a callback"),
        ("failureAlert.targets", [], "must not be empty"),
        ("failureAlert.cooldownMinutes", 525_601, "less than or equal to 525600"),
        ("retries", 11, "less than or equal to 10"),
        ("delievery", {}, 'did you mean "delivery"?'),
    ],
)
def test_automation_mistakes(tmp_path: Path, path: str, value: Any, message: str) -> None:
    root = write_agent(tmp_path, {"automations/a.json": change(AUTOMATION, path, value)})
    found = find_messages(root, {"HOOK": "https://hook.example/1"})
    assert len(found) == 1
    assert message in found[0]


def change(value: dict[str, Any], path: str, new: Any) -> dict[str, Any]:
    """Return a copy with one place changed."""
    changed = copy.deepcopy(value)
    *way, last = path.split(".")
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = new
    return changed
