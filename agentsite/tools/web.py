"""`web_search` and `fetch_url`.

Law: what comes from the web is data. Addresses come from a model: private hosts are never
reached, neither by us nor by asking Google for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsite.connections.client import guarded_client
from agentsite.connections.errors import OutboundError
from agentsite.connections.names import is_literal
from agentsite.connections.pages import extract_text, fetch_page
from agentsite.connections.search import SEARCHES, Found, read_with_google
from agentsite.connections.targets import parse_target
from agentsite.engine.deltas import Usage
from agentsite.engine.ports import ModelName
from agentsite.manifest.blocks import WebTools
from agentsite.manifest.bundle import Bundle
from agentsite.tools.base import Tool, ToolContext, ToolError, ToolResult, object_schema
from agentsite.tools.threads import run_in_thread

MOST_RESULTS = 10
RESULT_CHARS = 8_000
"""About 2,000 tokens."""


def build_web_tools(bundle: Bundle) -> list[Tool]:
    """Both tools, for an agent with `webTools`."""
    config = bundle.config.web_tools
    if config is None:
        return []
    web = _Web(config)
    return [
        Tool(
            name="web_search",
            description="Search the web. Read a page that matters with `fetch_url`.",
            parameters=object_schema(
                {
                    "query": {"type": "string", "minLength": 1, "maxLength": 400},
                    "max_results": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS},
                },
                required=("query",),
            ),
            call=web.search,
            read_only=True,
            idempotent=True,
            running_label="Searching for {{query}}",
            completed_label="Searched for {{query}}",
        ),
        Tool(
            name="fetch_url",
            description="Read a page of the web as text.",
            parameters=object_schema(
                {
                    "url": {"type": "string", "description": "http or https address."},
                    "prompt": {"type": "string", "description": "What to look for on the page."},
                },
                required=("url",),
            ),
            call=web.fetch,
            read_only=True,
            idempotent=True,
            host=_host_of,
            subject="url",
            running_label="Reading {{url}}",
            completed_label="Read {{url}}",
        ),
    ]


def _host_of(arguments: Mapping[str, Any]) -> str | None:
    try:
        return parse_target(str(arguments.get("url", ""))).origin.host
    except OutboundError:
        return None


class _Web:
    def __init__(self, config: WebTools) -> None:
        self._config = config
        asks = config.provider == "google"
        self._model = ModelName("google", config.model) if asks else None
        """Who is asked, where a model searches."""

    async def search(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        query, count = arguments["query"], arguments.get("max_results", 5)

        async def ask(most: int | None) -> tuple[Found, Usage]:
            search = SEARCHES[self._config.provider]
            found = await search(guarded_client(), self._config, query, count, most)
            return found, found.usage

        try:
            if self._model is None:  # no model answers, nothing is counted in tokens
                found, _ = await ask(None)
            else:
                found = await context.pay("search", self._model, query, ask)
        except OutboundError as error:
            raise ToolError(str(error), transient=error.transient) from None
        if self._model is not None and not (found.results or found.answer):
            raise ToolError("Gemini gave no answer.")
        told: dict[str, Any] = {"results": list(found.results)}
        if found.answer:
            told["answer"] = found.answer
        return ToolResult.ok(told).cut(RESULT_CHARS)

    async def fetch(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        url = arguments["url"]
        try:
            parse_target(url)
            read = await self._ask_google(context, url, arguments.get("prompt", ""))
            if read is not None:
                return ToolResult.ok({"url": url, "text": read})
            page = await fetch_page(guarded_client(), url)
        except OutboundError as error:
            raise ToolError(str(error), transient=error.transient) from None
        title, text = await run_in_thread(lambda: extract_text(page), "readability")
        told: dict[str, Any] = {"url": page.url, "title": title, "text": text}
        if page.cut:
            told["cut"] = True
        return ToolResult.ok(told)

    async def _ask_google(self, context: ToolContext, url: str, prompt: str) -> str | None:
        """Gemini's reading of a page; None where ours is to be taken."""
        host = parse_target(url).origin.host
        if self._model is None or self._config.api_key is None:
            return None
        if is_literal(host) or "." not in host or host.endswith((".local", ".internal")):
            return None

        async def ask(most: int | None) -> tuple[str | None, Usage]:
            return await read_with_google(guarded_client(), self._config, url, prompt, most)

        try:
            return await context.pay("search", self._model, f"{prompt} {url}", ask)
        except OutboundError:
            return None
