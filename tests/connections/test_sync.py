"""OpenAPI documents imported into surfaces, and drift reported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from aiohttp import web
from django.core.management import CommandError, call_command

from agentsite.connections.errors import Refused
from agentsite.connections.openapi import find_drift, merge, read_document, takes
from agentsite.connections.surface import read_surface
from agentsite.manifest.connections import Filter
from tests.connections.desk import answer
from tests.connections.site import Site, serve_site
from tests.manifest.agents import write_agent
from tests.requirements import requirement

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/deals": {
            "get": {
                "summary": "List  deals",
                "tags": ["deals"],
                "parameters": [{"in": "query", "name": "page", "required": True}],
            },
            "post": {"description": "# Make one", "tags": ["deals"]},
        },
        "/deals/{dealId}": {"get": {"tags": ["deals"]}},
        "/admin/keys": {"get": {"summary": "Keys"}},
    },
}
SURFACE = """Our deals.

## Included

### GET /deals/{id}
My own words.
Two lines.

### GET /old

## Excluded

### POST /deals
Not for you.
"""


def test_merges_what_is_there_with_what_an_author_wrote() -> None:
    operations = read_document(json.dumps(DOCUMENT).encode())
    wanted = Filter(tags=("deals",), exclude_paths=("/admin/*",))
    drift = find_drift(SURFACE, operations)
    assert (drift.added, drift.gone) == (("GET /admin/keys", "GET /deals"), ("GET /old",))
    text = merge(SURFACE, operations, wanted)
    surface = read_surface(text)
    assert surface.included == ("GET /deals", "GET /deals/{id}")
    assert surface.excluded == ("GET /admin/keys", "POST /deals")
    assert text.startswith("Our deals.\n\n## Included\n\n### GET /deals\nList deals\nQuery: page")
    assert "My own words.\nTwo lines." in text
    assert not find_drift(text, operations)
    assert merge(text, operations, wanted) == text


def test_reads_yaml_and_refuses_what_is_no_document() -> None:
    (one,) = read_document(b"swagger: '2.0'\npaths:\n  /a:\n    get: {}\n    x-b: 1\n")
    assert one.key == "GET /a"
    assert takes(None, one)
    assert not takes(Filter(include_paths=("/b*",)), one)
    for raw in (b"{", b"\xff", b"a: [", b"[]", b'{"openapi": "3.1.0"}', b"x"):
        with pytest.raises(Refused):
            read_document(raw)


@contextmanager
def on_a_thread() -> Iterator[tuple[Site, Callable[[], None]]]:
    """The server beside a command, which has a loop of its own."""
    ready, ended = Event(), Event()
    made: list[Site] = []

    async def serve() -> None:
        async with serve_site() as site:
            made.append(site)
            ready.set()
            await asyncio.to_thread(ended.wait, 60)

    thread = Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield made[0], ended.set
    finally:
        ended.set()
        thread.join(10)


@requirement("agent.sync")
def test_the_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with on_a_thread() as (site, _):

        async def me(request: web.Request) -> web.StreamResponse:
            good = request.headers.get("Authorization") == "Bearer t-0123"
            return web.json_response({}, status=200 if good else 401)

        site.pages |= {"/api.json": answer(DOCUMENT), "/me": me}
        spec = {
            "baseUrl": site.url("/"),
            "specUrl": site.url("/api.json"),
            "testPath": "/me",
            "format": "openapi",
            "filter": {"tags": ["deals"]},
            "auth": {"type": "bearer", "token": "t-0123"},
        }
        root = write_agent(tmp_path, {"connections/crm/spec.json": spec})
        with pytest.raises(CommandError):
            call_command("syncconnections", root, "--check")
        assert "crm: + GET /deals" in capsys.readouterr().out
        place = root / "connections/crm/surface.md"
        assert not place.exists()
        call_command("syncconnections", root)
        assert read_surface(place.read_text()).excluded == ("GET /admin/keys",)
        call_command("syncconnections", root, "--check")
        assert "4 endpoints, as told" in capsys.readouterr().out
        call_command("syncconnections", root, "--test")
        assert "crm: status 200" in capsys.readouterr().out
        site.pages["/api.json"] = answer({**DOCUMENT, "paths": {}})
        with pytest.raises(CommandError):
            call_command("syncconnections", root, "--check")
        assert "crm: - GET /deals" in capsys.readouterr().out
        (root / "connections/crm/spec.json").write_text(
            json.dumps({**spec, "auth": {"type": "bearer", "token": "other"}})
        )
        with pytest.raises(CommandError):
            call_command("syncconnections", root, "--test")
