"""What the token of another tenant reaches: by the owner's scope, and of what is of all scopes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from tests.isolation.probes import find_canary
from tests.isolation.recipes import make_recipes
from tests.isolation.world import AGENT, World
from tests.issuer import token
from tests.server import Client
from tests.servers import Server

OF_ALL: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/api/events", {"all": "1"}),
    ("GET", "/metrics", {}),
    *(("POST", f"/automations/island/{verb}", {}) for verb in ("run", "stream", "start", "stop")),
)
"""What is of every scope, or of one that is no tenant's (`island` runs in the empty one)."""


def probe_tenant(world: World, server: Server) -> Iterator[str]:
    """Every route for an ops token that is bound by its tenant alone; the server takes tokens."""
    tenant = f"stranger-{uuid.uuid4().hex}"
    sent = {"Authorization": f"Bearer {token(tenantId=tenant, role='ops')}"}
    client = Client(server, tenant, AGENT)
    own = client.ask("GET", "/sessions", headers=sent, scope_id=f"{tenant}:ann")
    if own.status != 200:
        yield f"GET /sessions of its own: {own.status} {own.body[:200]!r}"
    for method, path, query in OF_ALL:
        body = {} if method == "POST" else None
        answer = client.ask(method, path, body, headers=sent, agentId=AGENT, **query)
        yield from find_canary(path, answer.body)
        if answer.status != 403:
            yield f"{method} {path} as a tenant: {answer.status} {answer.body[:200]!r}"
    listed = client.ask("GET", "/automations", headers=sent).json["automations"]
    if not listed or any("prompt" in each for each in listed):
        yield f"GET /automations as a tenant: {listed}"
    for recipe in make_recipes():
        target = recipe.target({**world.ids, "agent": AGENT, "own": world.ids["session"]})
        target += f"{'&' if recipe.query else '?'}scope_id={world.owner}"
        body = recipe.filled({**world.ids, "agent": AGENT, "own": world.ids["session"]})
        answer = client.ask(recipe.method, target, body, headers=sent, scope_id=None)
        if answer.status == 405:
            continue
        yield from find_canary(target, answer.body)
        if answer.status != 403 or b"scope_forbidden" not in answer.body:
            yield f"{recipe.method} {target} as a tenant: {answer.status} {answer.body[:200]!r}"
