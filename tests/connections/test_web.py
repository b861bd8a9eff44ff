"""`web_search` and `fetch_url` against servers in the providers' shapes, on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agentsite.connections.client import GuardedClient, close_guarded_client
from agentsite.connections.errors import OutboundError, RateLimited
from agentsite.connections.pages import extract_text, fetch_page
from agentsite.engine.deltas import Usage
from agentsite.manifest.loader import load
from agentsite.tools.toolset import build_toolset
from tests.connections.desk import answer
from tests.connections.site import Page, Site, serve_site
from tests.connections.test_client import PUBLIC, judge
from tests.requirements import requirement
from tests.tools.agents import Calls, write_agent

ARTICLE = "<p>" + "The kettle boils at one hundred degrees near the sea. " * 12 + "</p>"
HTML = f"""<!doctype html><html><head><title>Kettles  of
the world</title><script>steal()</script></head><body><nav><a href="/x">Menu</a></nav>
<article><h1>Kettles</h1>{ARTICLE}<h2>More</h2>{ARTICLE}</article><footer>(c)</footer></body>"""
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as site:
        yield site
        await close_guarded_client()


class Web:
    """An agent with web tools."""

    def __init__(self, root: Path, block: Any, env: dict[str, str] | None = None) -> None:
        config = {"name": "desk", "version": "1.0.0", "webTools": block}
        self.bundle = write_agent(root, {"amodal.json": config}, env)
        self.paid: list[Any] = []

    async def call(self, name: str, **arguments: Any) -> Any:
        tool, calls = build_toolset(self.bundle)[name], Calls(self.bundle)
        result = await calls.call(tool, **arguments)
        self.paid = calls.paid
        return json.loads(result.text)


def gemini(**candidate: Any) -> Page:
    parts = {"content": {"parts": [{"text": "It boils."}]}}
    usage = {"promptTokenCount": 7, "toolUsePromptTokenCount": 90, "candidatesTokenCount": 4,
             "thoughtsTokenCount": 20}  # fmt: skip
    return answer({"candidates": [{**parts, **candidate}], "usageMetadata": usage})


@requirement("reference.web-search", "runs.beside")
async def test_searches_with_gemini(site: Site, tmp_path: Path) -> None:
    site.pages[GEMINI] = gemini(
        groundingMetadata={
            "groundingChunks": [
                {"web": {"uri": "https://a.example", "title": "A"}},
                {"web": {"uri": "https://b.example"}},
            ],
            "groundingSupports": [{"segment": {"text": "At 100."}, "groundingChunkIndices": [0]}],
        }
    )
    web_tools = Web(tmp_path, {"provider": "google", "apiKey": "k-0123", "baseUrl": site.url("/")})
    told = await web_tools.call("web_search", query="kettles", max_results=2)
    assert told == {
        "results": [
            {"title": "A", "url": "https://a.example", "snippet": "At 100."},
            {"title": "https://b.example", "url": "https://b.example", "snippet": ""},
        ],
        "answer": "It boils.",
    }
    (seen,) = site.seen
    assert seen.headers["x-goog-api-key"] == "k-0123"
    assert "k-0123" not in seen.target
    assert json.loads(seen.body)["tools"] == [{"google_search": {}}]
    used = Usage(input=97, output=4, reasoning=20)
    assert web_tools.paid == [("search", ("google", "gemini-2.5-flash"), used)]


@pytest.mark.parametrize(
    ("provider", "path", "body", "key"),
    [
        ("searxng", "/search", {"results": [{"title": "A", "url": "u", "content": "c"}] * 9}, None),
        (
            "brave",
            "/res/v1/web/search",
            {"web": {"results": [{"title": "A", "url": "u", "description": "c"}] * 9}},
            "BSA-0123",
        ),
    ],
)
async def test_searches_with_other_providers(
    site: Site, tmp_path: Path, provider: str, path: str, body: Any, key: str | None
) -> None:
    site.pages[path] = answer(body)
    env = {"BRAVE_API_KEY": key} if key else {}
    web_tools = Web(tmp_path, {"provider": provider, "baseUrl": site.url("/")}, env)
    told = await web_tools.call("web_search", query="a & b")
    assert told["results"] == [{"title": "A", "url": "u", "snippet": "c"}] * 5
    assert web_tools.paid == [], "no model is asked"
    assert "q=a+%26+b" in site.seen[0].target
    assert site.seen[0].headers.get("x-subscription-token") == key
    if key:
        assert key in web_tools.bundle.secrets
    site.pages[path] = answer({"error": key}, 500)
    with pytest.raises(Exception, match="answered with status 500"):
        await web_tools.call("web_search", query="x")


@requirement("reference.fetch-url")
async def test_reads_pages_of_public_hosts_only(site: Site, tmp_path: Path) -> None:
    web_tools = Web(tmp_path, {"provider": "searxng", "baseUrl": site.url("/")})
    for url in (site.url("/"), "http://localhost:1/", "http://169.254.169.254/", "ftp://x/"):
        with pytest.raises(Exception, match=r"private address|http://|never reached"):
            await web_tools.call("fetch_url", url=url)
    assert site.seen == []


async def test_keeps_of_a_page_what_a_reader_reads() -> None:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=HTML, content_type="text/html")

    async def large(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>" + "x " * 900_000, content_type="text/html")

    async def picture(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\x89PNG", content_type="image/png")

    async with serve_site(PUBLIC, page=page, large=large, picture=picture) as site:
        site.pages["/json"] = answer({"a": 1})
        site.pages["/gone"] = answer({}, 404)
        client = GuardedClient(judge=judge)
        title, text = extract_text(await fetch_page(client, site.url("/page")))
        assert title == "Kettles of the world"
        assert "The kettle boils" in text
        assert "Kettles" in text
        assert "steal" not in text
        assert extract_text(await fetch_page(client, site.url("/json"))) == ("", '{"a": 1}')
        read = await fetch_page(client, site.url("/large"))
        assert (read.cut, len(read.content)) == (True, 1_000_000)
        for bad in ("/gone", "/picture"):
            with pytest.raises(OutboundError):
                await fetch_page(client, site.url(bad))
        for _ in range(5):
            await fetch_page(client, site.url("/json"))
        with pytest.raises(RateLimited, match="10 times within 60 seconds"):
            await fetch_page(client, site.url("/json"))
        await client.close()


async def test_gemini_reads_pages_where_it_can(site: Site, tmp_path: Path) -> None:
    read = {"urlMetadata": [{"urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}]}
    site.pages[GEMINI] = gemini(urlContextMetadata=read)
    block = {"provider": "google", "baseUrl": site.url("/")}
    web_tools = Web(tmp_path, block, {"GEMINI_API_KEY": "k-0123"})
    told = await web_tools.call("fetch_url", url="https://a.example/x", prompt="When?")
    assert told == {"url": "https://a.example/x", "text": "It boils."}
    asked = json.loads(site.seen[0].body)
    assert asked["contents"][0]["parts"][0]["text"] == "When?\n\nhttps://a.example/x"
    assert asked["tools"] == [{"url_context": {}}]
    site.seen.clear()
    with pytest.raises(Exception, match="private address"):  # not even asked of Google
        await web_tools.call("fetch_url", url="http://10.0.0.1/")
    assert site.seen == []


def test_says_what_web_tools_lack(tmp_path: Path) -> None:
    bundle = Web(tmp_path, True).bundle
    assert any("GOOGLE_API_KEY" in each.message for each in bundle.warnings)
    wrong = (
        {"provider": "searxng"},
        {"provider": "searxng", "baseUrl": "http://x", "apiKey": "k"},
        {"provider": "brave", "model": "m"},
    )
    for block in wrong:
        (tmp_path / "amodal.json").write_text(
            json.dumps({"name": "desk", "version": "1.0.0", "webTools": block})
        )
        with pytest.raises(Exception, match="webTools"):
            load(tmp_path, {})
