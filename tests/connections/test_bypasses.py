"""The corpus of attempts to get past access.json and context injection: none may pass.

Law: each attempt goes the whole way of the tool `request`, to a server that reads requests
as carelessly as it can (`careless.py`). It passes when that server would have obeyed.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentsite.connections.caller import Caller
from agentsite.connections.client import close_guarded_client
from agentsite.tools.base import ToolContext, ToolError
from agentsite.tools.request import build_request
from tests.connections.attempts import ACCESS_ATTEMPTS, INJECTION_ATTEMPTS, Attempt
from tests.connections.careless import ACCESS, SURFACE, is_breached, read_tenants
from tests.connections.site import Seen, Site, serve_site
from tests.requirements import requirement
from tests.tools.agents import Calls, write_agent

PLACES = {
    "query": {"tenant": {"in": "query", "field": "tenant_id", "required": True}},
    "header": {"tenant": {"in": "header", "field": "X-Tenant", "required": True}},
    "path": {"tenant": {"in": "path", "field": "tenant_id", "required": True}},
    "body": {"tenant": {"in": "body", "field": "tenant_id", "required": True}},
}
SHAPES: dict[str, dict[str, Any]] = {
    "part": {"surface.md": "### GET /org-{tenant_id}/orders\n"},
    "colon": {"surface.md": "### GET /tenants/:tenant_id/orders\n"},
    "odata": {"surface.md": "### GET /tenants({tenant_id})/orders\n### GET /tenants({tenantId})\n"},
    "renamed": {
        "surface.md": "### GET /tenants/{tenant_id}/orders\n",
        "access.json": {"endpoints": {"GET /tenants/{id}/invoices": {}}},
    },
    "unnamed": {"access.json": {"endpoints": {"GET /tenants/{id}/orders": {}, "GET /health": {}}}},
    "based": {"surface.md": "### GET /v1/tenants/{tenant_id}/orders\n"},
}
"""How else the files of a connection may say where the tenant stands."""
TENANT_SURFACE = "## Included\n### GET /tenants/{tenant_id}/orders\n### POST /tenants/{tenant_id}\n"
CALLER = Caller(user={"role": "rep"}, context={"tenant": "acme"})
Go = Callable[[Attempt], Any]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as site:
        yield site
        await close_guarded_client()


@pytest.fixture
def go(site: Site, tmp_path: Path) -> Go:
    """Makes an attempt through the tool; tells whether it was refused."""
    files: dict[str, Any] = {
        "connections/shop/spec.json": {"baseUrl": site.url("/")},
        "connections/shop/access.json": ACCESS,
        "connections/shop/surface.md": SURFACE,
    }
    for place, injection in PLACES.items():
        files[f"connections/{place}/spec.json"] = {
            "baseUrl": site.url(""),
            "contextInjection": injection,
        }
    files["connections/path/surface.md"] = TENANT_SURFACE
    for name, told in SHAPES.items():
        files[f"connections/{name}/spec.json"] = {
            "baseUrl": site.url("/v1" if name == "based" else ""),
            "contextInjection": PLACES["path"],
        }
        files |= {f"connections/{name}/{file}": content for file, content in told.items()}
    files["connections/inner/spec.json"] = {
        "baseUrl": site.url("/tenants/{tenant_id}"),
        "contextInjection": PLACES["path"],
    }
    bundle = write_agent(tmp_path, files)
    (tool,) = build_request(bundle)
    contexts = Calls(bundle)

    async def make_attempt(attempt: Attempt) -> bool:
        arguments = {"method": "GET", **attempt.arguments}
        if tool.find_problem(arguments) is not None:
            return True
        context: ToolContext = contexts.context("request", deadline=time.monotonic() + 5)
        context.caller = CALLER
        try:
            await tool.call(context, arguments)
        except ToolError:
            return True
        return False

    return make_attempt


@requirement("shapes.access-bypass")
async def test_nothing_gets_past_access_rules(site: Site, go: Go) -> None:
    passed, refused = [], 0
    for attempt in ACCESS_ATTEMPTS:
        site.seen.clear()
        refused += await go(attempt.to("shop"))
        if any(map(is_breached, site.seen)):
            passed.append(attempt.name)
    assert passed == []
    assert len(ACCESS_ATTEMPTS) >= 75
    assert refused >= 60


@requirement("shapes.injection-bypass")
async def test_nothing_gets_past_context_injection(site: Site, go: Go) -> None:
    passed = []
    for attempt in INJECTION_ATTEMPTS:
        site.seen.clear()
        await go(attempt)
        if any(read_tenants(seen) - {"acme"} for seen in site.seen):
            passed.append(attempt.name)
    assert passed == []
    assert len(INJECTION_ATTEMPTS) >= 45


def send_plainly(attempt: Attempt) -> Seen:
    """What a client without any guard would send for these arguments."""
    given = attempt.arguments
    target, params = given["endpoint"], dict(given.get("params") or {})
    for name in tuple(params):
        if f"{{{name}}}" in target:
            target = target.replace(f"{{{name}}}", str(params.pop(name)))
    target = target.replace("{tenant_id}", "acme")
    if params:
        pairs = "&".join(f"{name}={value}" for name, value in params.items())
        target += f"{'&' if '?' in target else '?'}{pairs}"
    data = given.get("data", "")
    body = data if isinstance(data, str) else json.dumps(data)
    lines = "\n".join(f"{name}: {value}" for name, value in (given.get("headers") or {}).items())
    read = (line.partition(":") for line in lines.splitlines())
    headers = {name.lower(): value.strip() for name, _, value in read}
    return Seen(given.get("method", "GET").upper(), target, headers, body.encode(), None)


FAR_FETCHED = 8
"""Attempts that even this server does not fall for; other servers might."""


@requirement("shapes.access-bypass", "shapes.injection-bypass")
def test_without_a_guard_the_attempts_would_pass() -> None:
    sent = [send_plainly(attempt) for attempt in ACCESS_ATTEMPTS]
    breaches = [seen for seen in sent if is_breached(seen)]
    assert len(breaches) >= len(ACCESS_ATTEMPTS) - FAR_FETCHED
    sent = [send_plainly(attempt) for attempt in INJECTION_ATTEMPTS]
    foreign = [seen for seen in sent if read_tenants(seen) - {"acme"}]
    assert len(foreign) >= len(INJECTION_ATTEMPTS) - FAR_FETCHED
    assert len(breaches) + len(foreign) >= 150


async def test_what_is_allowed_goes_through(site: Site, go: Go) -> None:
    fair = [
        Attempt("a list", {"endpoint": "/users", "params": {"page": 2}}).to("shop"),
        Attempt("its query", {"endpoint": "/users?sort=-name&x=a%20b"}).to("shop"),
        Attempt("an id", {"endpoint": "/users/5"}).to("shop"),
        Attempt("an id in letters", {"endpoint": "/users/M%C3%BCller%20%26%20Co"}).to("shop"),
        Attempt(
            "a small sum", {"method": "POST", "endpoint": "/payments", "data": {"amount": 500}}
        ).to("shop"),
        Attempt("in the query", {"endpoint": "/orders"}).to("query"),
        Attempt("in a header", {"endpoint": "/orders", "headers": {"Accept": "a/b"}}).to("header"),
        Attempt("in the path", {"endpoint": "/tenants/{tenant_id}/orders"}).to("path"),
        Attempt("in the path, written out", {"endpoint": "/tenants/acme/orders"}).to("path"),
        Attempt("in a part", {"endpoint": "/org-{tenant_id}/orders"}).to("part"),
        Attempt("in a part, written out", {"endpoint": "/org-acme/orders"}).to("part"),
        Attempt("with a colon", {"endpoint": "/tenants/acme/orders"}).to("colon"),
        Attempt("in brackets", {"endpoint": "/tenants({tenant_id})/orders"}).to("odata"),
        Attempt("in brackets, at the end", {"endpoint": "/tenants(acme)"}).to("odata"),
        Attempt("renamed", {"endpoint": "/tenants/acme/invoices"}).to("renamed"),
        Attempt("unnamed", {"endpoint": "/tenants/{tenant_id}/orders"}).to("unnamed"),
        Attempt("in the base", {"endpoint": "/orders/7"}).to("inner"),
        Attempt("in a body", {"method": "POST", "endpoint": "/x", "data": {"a": 1}}).to("body"),
    ]
    for attempt in fair:
        site.seen.clear()
        assert not await go(attempt), attempt.name
        (seen,) = site.seen
        assert not is_breached(seen), attempt.name
        if attempt.arguments["connection"] != "shop":
            assert read_tenants(seen) == {"acme"}, attempt.name
