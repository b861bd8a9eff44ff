"""How every route of the API is called with somebody's ids.

Law: routes and methods come from the URL patterns. A route whose parameters or body nobody has
described here has no recipe, and the test says so; what is described and is no route, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.urls import get_resolver

from tests.isolation.world import Ids
from tests.patterns import METHODS, OPEN, OPERATORS, PAGE, SIGNED, is_staff_route, routes

PARAMETERS = {
    "agent_id": ("{agent}",),
    "session_id": ("{session}", "{waiting}"),
    "attachment_id": ("{attachment}",),
    "entry_id": ("{entry}",),
    "name": ("notes",),
    "key": ("{key}",),
    "automation": ("{key}",),
}
"""What stands for a parameter of a pattern: each of the values is tried."""
IN_ROUTES = {"/automations/<str:automation>/runs": ("island",)}
"""The same where one route alone is asked for something else: automations are their agent's."""
STREAMS = {"api/events"}
"""Routes whose answer never ends; `streams.py` follows them."""
MINE: dict[str, Any] = {"title": "Mine"}
NOTE = {"title": "{key}", "text": "mine"}


def rpc(method: str, **params: Any) -> dict[str, Any]:
    """A message of the Model Context Protocol."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    """A call of one of its tools."""
    return rpc("tools/call", name=name, arguments=arguments)


BODIES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("chat", "POST"): (
        {"message": "x", "agentId": "{agent}", "sessionId": "{session}"},
        {"message": "x", "agentId": "{agent}", "session_id": "{waiting}", "onBusy": "enqueue"},
        {"agentId": "{agent}", "sessionId": "{waiting}"},
    ),
    ("chat/stream", "POST"): (
        {"message": "x", "agentId": "{agent}", "sessionId": "{session}"},
        {"message": "x", "agentId": "{agent}", "sessionId": "{waiting}", "onBusy": "interrupt"},
        {"agentId": "{agent}", "sessionId": "{session}"},
    ),
    ("chat/sync", "POST"): (
        {"message": "x", "agentId": "{agent}", "sessionId": "{session}"},
        {"message": "x", "agentId": "{agent}", "sessionId": "{waiting}", "onBusy": "steer"},
    ),
    ("ask-user-response", "POST"): (
        {"sessionId": "{waiting}", "interactionId": "{interaction}", "approved": True},
        {"sessionId": "{waiting}", "approved": True},
        {"sessionId": "{own}", "interactionId": "{interaction}", "approved": True},
    ),
    ("chat/sessions/<str:session_id>/ask-user-response", "POST"): (
        {"interactionId": "{interaction}", "approved": True},
        {"answers": "{word}"},
    ),
    ("widget-actions", "POST"): (
        {"sessionId": "{session}", "action": "credential_saved", "values": {"TOKEN": "x"}},
        {"sessionId": "{waiting}", "action": "approved", "preview_id": "{asking}"},
        {"sessionId": "{own}", "action": "approved", "preview_id": "{asking}"},
        {"sessionId": "{session}", "action": "pressed"},
    ),
    ("mcp", "POST"): (tool("chat", sessionId="{session}"), rpc("resources/list")),
    ("mcp/<str:agent_id>", "POST"): (
        tool("chat", message="x", sessionId="{session}"),
        tool("chat", message="x", sessionId="{waiting}", onBusy="interrupt"),
        tool("chat", sessionId="{waiting}"),
        tool("answer", sessionId="{waiting}", interactionId="{interaction}", answers="mine"),
        tool("answer", sessionId="{own}", interactionId="{interaction}", decline=True),
        tool("stop", sessionId="{waiting}"),
        rpc("resources/read", uri="store://notes/{key}"),
        rpc("resources/read", uri="store://notes?search={word}"),
    ),
    ("sessions/<str:session_id>", "PATCH"): (MINE, {"tags": ["mine"], "metadata": {"a": 1}}),
    ("sessions/history/<str:session_id>", "PATCH"): (MINE,),
    ("sessions/<str:session_id>/interrupt", "POST"): ({},),
    ("api/feedback", "POST"): (
        {"sessionId": "{session}", "messageId": "{message}", "rating": "up"},
    ),
    ("api/memory", "POST"): ({"content": "About {entry}"},),
    ("api/stores/<str:name>", "POST"): (NOTE, {**NOTE, "about": "{key}"}),
    ("api/stores/<str:name>/<path:key>", "PUT"): (NOTE,),
}
QUERIES: dict[str, tuple[str, ...]] = {
    "mcp": ("agentId={agent}",),
    "automations": ("", "agentId={agent}"),
    "automations/<str:automation>/run": ("agentId={agent}",),
    "automations/<str:automation>/stream": ("agentId={agent}",),
    "automations/<str:automation>/start": ("agentId={agent}",),
    "automations/<str:automation>/stop": ("agentId={agent}",),
    "automations/<str:automation>/runs": ("agentId={agent}", "agentId={agent}&cursor={session}"),
    "sessions": ("", "q={word}", "tag={word}", "cursor={session}"),
    "sessions/history": ("", "tags={word}"),
    "sessions/<str:session_id>/state": ("", "sinceSeq=1"),
    "sessions/<str:session_id>/events": ("", "after=1"),
    "api/feedback": ("sessionId={session}",),
    "api/memory": ("agentId={agent}",),
    "api/memory/<str:entry_id>": ("agentId={agent}",),
    "api/stores": ("agentId={agent}",),
    "api/stores/<str:name>": (
        "agentId={agent}",
        "agentId={agent}&search={word}",
        'agentId={agent}&filter={{"title":"{key}"}}',
    ),
    "api/stores/<str:name>/<path:key>": ("agentId={agent}",),
}


class Recipe(NamedTuple):
    """One way to call a route; ids are named in braces."""

    route: str
    method: str
    path: str
    query: str
    body: Any

    def target(self, ids: Ids) -> str:
        """The path with its query."""
        path = _fill(self.path, ids)
        return f"{path}?{_fill(self.query, ids)}" if self.query else path

    def filled(self, ids: Ids) -> Any:
        """The body."""
        if self.body is None:
            return None
        text = json.dumps(self.body)
        for name, value in ids.items():
            text = text.replace(f"{{{name}}}", value)
        return json.loads(text)


def _fill(text: str, ids: Ids) -> str:
    for name, value in ids.items():
        text = text.replace(f"{{{name}}}", value)
    return text.replace("{{", "%7B").replace("}}", "%7D").replace('"', "%22")


def api_routes() -> list[str]:
    """Every route that may touch a tenant's rows."""
    every = set(routes(get_resolver())) - OPEN - OPERATORS - SIGNED - STREAMS - {PAGE}
    return sorted(route for route in every if not is_staff_route(route))


def find_gaps() -> list[str]:
    """Routes that have parameters, or take ids otherwise, and no recipe; recipes for no route."""
    known = api_routes()
    gaps = [
        f"{route}: no recipe for {name}"
        for route in known
        for name in re.findall(r"<(?:\w+:)?(\w+)>", route)
        if name not in PARAMETERS
    ]
    described = {route for route, _ in BODIES} | set(QUERIES)
    gaps += [
        f"{route}: no recipe for its query or body"
        for route in known
        if "<" not in route and route not in described
    ]
    return gaps + [f"{route}: no such route" for route in described - set(known)]


def make_recipes() -> Iterator[Recipe]:
    """Every route by every method, in the order of the methods: what is deleted was read before."""
    for method in METHODS:
        for route in api_routes():
            for path in _make_paths(f"/{route}"):
                for query in QUERIES.get(route, ("",)):
                    wants = method in ("POST", "PUT", "PATCH")
                    for body in BODIES.get((route, method), ({},) if wants else (None,)):
                        yield Recipe(route, method, path, query, body)


def _make_paths(path: str) -> list[str]:
    found = re.search(r"<(?:\w+:)?(\w+)>", path)
    if found is None:
        return [path]
    values = IN_ROUTES.get(path) or PARAMETERS.get(found[1], ())
    return [p for each in values for p in _make_paths(path.replace(found[0], each, 1))]
