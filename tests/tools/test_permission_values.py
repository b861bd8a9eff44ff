"""Permission rules on the arguments of tools that are no shell, and on their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.tools.dispatch import build_dispatch_tools
from tests.tools.agents import write_agent
from tests.tools.rules import FETCH, OTHER, REQUEST, WRITE, judge

DENY_VALUES = {
    "deny": (
        "write_repo_file(skills/secret/**)",
        "request(POST /refunds/**)",
        "request(crm DELETE /admin/*/keys)",
        "request(endpoint=/vault/**)",
        "fetch_url(*://internal.example/**)",
        "other(amount=9*)",
    )
}


def call(method: str, endpoint: str, **params: Any) -> dict[str, Any]:
    return {"connection": "crm", "method": method, "endpoint": endpoint, "params": params}


HIDDEN: list[tuple[Any, dict[str, Any]]] = [
    (WRITE, {"path": "skills/secret/a.md", "content": ""}),
    (WRITE, {"path": "skills//secret/a.md", "content": ""}),
    (WRITE, {"path": "skills/./secret/a.md", "content": ""}),
    (WRITE, {"path": "skills/x/../secret/a.md", "content": ""}),
    (WRITE, {"path": "/skills/secret/a.md", "content": ""}),
    (WRITE, {"path": "SKILLS/Secret/a.md", "content": ""}),
    (WRITE, {"path": "skills\\secret\\a.md", "content": ""}),
    (WRITE, {"path": "skills/secret%2fa.md", "content": ""}),
    (WRITE, {"path": "skills/%73ecret/a.md", "content": ""}),
    (WRITE, {"path": "skills/%2573ecret/a.md", "content": ""}),
    (WRITE, {"path": "skills/secret\u200b/a.md", "content": ""}),
    (WRITE, {"path": "skills/\uff53ecret/a.md", "content": ""}),
    (WRITE, {"path": "skills/secret/deep/er/a.md", "content": ""}),
    (WRITE, {"path": "skills/secret/a.md\x00.txt", "content": ""}),
    (WRITE, {"path": " skills/secret/a.md", "content": ""}),
    (WRITE, {"path": ["skills/secret/a.md"], "content": ""}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "post", "endpoint": "/refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/x/../refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "//refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/REFUNDS/1?x=1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/%72efunds/1"}),
    (REQUEST, call("POST", "/{a}/1", a="refunds")),
    (REQUEST, call("POST", "/{a}/{b}", a="refunds", b=1)),
    (REQUEST, call("POST", "/re{a}s/1", a="fund")),
    (REQUEST, call("POST", "/{a}{b}/1", a="refu", b="nds")),
    (REQUEST, call("POST", "/{a}/1", a="%72efunds")),
    (REQUEST, call("POST", "/{a}/1", a="REFUNDS ")),
    (REQUEST, call("POST", "/{a}/1")),
    (REQUEST, call("POST", "/{a}/" + "1" * 600)),
    (REQUEST, call("POST", "/refunds%20/1")),
    (REQUEST, call("POST", "/refunds../1")),
    (REQUEST, call("POST", "/re{a}s/1", b="fund")),
    (REQUEST, call("POST", "/{a}/1", a=["refunds"])),
    (REQUEST, call("POST", "/refunds/{id}")),
    (REQUEST, call("DELETE", "/admin/{id}/keys", id=7)),
    (REQUEST, call("DELETE", "/{a}/7/{b}", b="keys")),
    (REQUEST, call("GET", "/{a}/x", a="vault")),
    (REQUEST, call("GET", "/{a}/x")),
    (FETCH, {"url": "https://internal.example/x"}),
    (FETCH, {"url": "https://INTERNAL.example/x"}),
    (FETCH, {"url": "https://user:pw@internal.example:8443/x"}),
    (FETCH, {"url": "https://internal.example./x"}),
    (FETCH, {"url": "https://internal.example"}),
    (FETCH, {"url": "https://internal\u3002example/x"}),
    (OTHER, {"amount": 950}),
    (OTHER, {"amount": "950"}),
    (OTHER, {"amount": [1, 950]}),
    (OTHER, {"amount": {"value": 950}}),
]


@pytest.mark.parametrize(("tool", "arguments"), HIDDEN)
def test_no_spelling_of_a_value_gets_past_a_rule(tool: Any, arguments: dict[str, Any]) -> None:
    assert judge(DENY_VALUES, tool, **arguments) == "deny"


OPEN = (
    call("GET", "/refunds/{id}", id=1),
    call("POST", "/{a}/1", a="orders"),
    call("POST", "/order{a}/1"),
    call("POST", "/tenants/{tenant}"),
    call("DELETE", "/admin/{id}", id=7),
    call("DELETE", "/admin/{id}/keys/{n}"),
    call("GET", "/x?next={a}", a="vault"),
)


@pytest.mark.parametrize("arguments", OPEN)
def test_a_placeholder_means_no_more_than_it_may_become(arguments: dict[str, Any]) -> None:
    assert judge(DENY_VALUES, REQUEST, **arguments) == "allow"


def test_a_rule_on_one_name_of_a_tool_is_a_rule_on_all(tmp_path: Path) -> None:
    plain, alias = build_dispatch_tools(write_agent(tmp_path, {}))
    assert (plain.name, alias.name) == ("dispatch", "dispatch_task")
    for tool in (plain, alias):
        for name in ("dispatch", "dispatch_task", "Dispatch", "dispatch(*)"):
            assert judge({"deny": (name,)}, tool, task="x") == "deny"
            assert judge({"ask": (name,)}, tool, task="x") == "ask"
        assert judge({"mode": "deny", "allow": ("dispatch",)}, tool, task="x") == "allow"
        assert judge({"mode": "deny", "allow": ("dispatch_task",)}, tool, task="x") == "allow"


ALLOW_VALUES = {
    "mode": "deny",
    "allow": (
        "write_repo_file(skills/**)",
        "request(crm GET /deals/*)",
        "fetch_url(https://*.good.example/**)",
        "other(city=R*)",
    ),
}
TRICKS: list[tuple[Any, dict[str, Any]]] = [
    (WRITE, {"path": "skills/../amodal.json", "content": ""}),
    (WRITE, {"path": "skills/%2e%2e/amodal.json", "content": ""}),
    (WRITE, {"path": "skills/..\\..\\amodal.json", "content": ""}),
    (WRITE, {"path": "../skills/a", "content": ""}),
    (WRITE, {"path": "skills/a\u202e", "content": ""}),
    (WRITE, {"content": "skills/a"}),
    (REQUEST, {"connection": "erp", "method": "GET", "endpoint": "/deals/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/deals/1"}),
    (REQUEST, {"connection": "crm", "method": "GET", "endpoint": "/deals/1/../../users"}),
    (REQUEST, {"connection": "crm", "method": "GET", "endpoint": "/deals/1/notes"}),
    (REQUEST, {"connection": "crm", "method": "GET", "endpoint": "/deals/%2e%2e"}),
    (REQUEST, call("GET", "/deals/{a}", a="1/notes")),
    (REQUEST, call("GET", "/deals/{a}", a="..")),
    (REQUEST, call("GET", "/deals/{a}", a="%2e%2e")),
    (REQUEST, call("GET", "/{a}/1", a="users")),
    (FETCH, {"url": "https://evil.example#.good.example/"}),
    (FETCH, {"url": "https://evil.example?.good.example/"}),
    (FETCH, {"url": "https://evil.example\\.good.example/"}),
    (FETCH, {"url": "https://x@evil.good.example:80@evil.example/"}),
    (FETCH, {"url": "http://a.good.example/"}),
    (OTHER, {"town": "Rome"}),
    (OTHER, {"city": ["Rome", "Paris"]}),
]


@pytest.mark.parametrize(("tool", "arguments"), TRICKS)
def test_no_trick_is_taken_for_what_is_allowed(tool: Any, arguments: dict[str, Any]) -> None:
    assert judge(ALLOW_VALUES, tool, **arguments) == "deny"


def test_values_that_fit_are_allowed() -> None:
    assert judge(ALLOW_VALUES, WRITE, path="skills/a/b.md", content="../%") == "allow"
    deals = {"connection": "crm", "method": "GET", "endpoint": "/deals/1"}
    assert judge(ALLOW_VALUES, REQUEST, **deals) == "allow"
    assert judge(ALLOW_VALUES, REQUEST, **call("GET", "/deals/{id}", id=1)) == "allow"
    assert judge(ALLOW_VALUES, REQUEST, **call("GET", "/deals/{tenant}")) == "allow"
    assert judge(ALLOW_VALUES, FETCH, url="https://a.good.example/b/c") == "allow"
    assert judge(ALLOW_VALUES, OTHER, city="Rome", other="x") == "allow"
