"""Searching the web: one function per provider, the same shape of answer from each.

Law: keys travel in headers, never in addresses. A provider's host is named by the agent's
file, so a SearXNG in the own network is reached; what it finds is data.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from agentsite.connections.client import GuardedClient, Inbound, Outbound
from agentsite.connections.errors import OutboundError, Refused
from agentsite.connections.targets import parse_target
from agentsite.engine.deltas import Usage
from agentsite.manifest.blocks import WebTools

GOOGLE = "https://generativelanguage.googleapis.com"
BRAVE = "https://api.search.brave.com"
SECONDS = 25.0
SNIPPET_CHARS = 600
ANSWER_CHARS = 5_000
NOTHING = Usage()
RETRIEVED = "URL_RETRIEVAL_STATUS_SUCCESS"


@dataclass(frozen=True, slots=True)
class Found:
    """What a search brought. `answer` is the provider's own summary, where it makes one."""

    results: tuple[dict[str, str], ...]
    answer: str = ""
    usage: Usage = NOTHING
    """Tokens, where a model was asked."""


Search = Callable[[GuardedClient, WebTools, str, int, int | None], Awaitable[Found]]
"""The last number: tokens that a model's answer may have; None leaves it to the vendor."""


async def search_google(
    client: GuardedClient, config: WebTools, query: str, count: int, most: int | None = None
) -> Found:
    """Gemini with grounding in Google Search. Raises `OutboundError`."""
    asked = f"Search the web and answer shortly, with facts only: {query}"
    candidate, usage = await _ask_gemini(client, config, asked, {"google_search": {}}, most)
    grounding = candidate.get("groundingMetadata") or {}
    supports = grounding.get("groundingSupports") or []
    results = []
    for place, chunk in enumerate(grounding.get("groundingChunks") or []):
        web = chunk.get("web") or {}
        said = [
            str((one.get("segment") or {}).get("text", ""))
            for one in supports
            if place in (one.get("groundingChunkIndices") or [])
        ]
        results.append(_result(web.get("title"), web.get("uri"), " ".join(said)))
    return Found(tuple(results[:count]), _text_of(candidate)[:ANSWER_CHARS], usage)


async def read_with_google(
    client: GuardedClient, config: WebTools, url: str, prompt: str, most: int | None = None
) -> tuple[str | None, Usage]:
    """What Gemini says of a page; None if it could not read it. Raises `OutboundError`."""
    asked = f"{prompt or 'Give the content of this page in full, as Markdown.'}\n\n{url}"
    candidate, usage = await _ask_gemini(client, config, asked, {"url_context": {}}, most)
    read = (candidate.get("urlContextMetadata") or {}).get("urlMetadata") or []
    if not any(one.get("urlRetrievalStatus") == RETRIEVED for one in read):
        return None, usage
    return _text_of(candidate) or None, usage


async def search_searxng(
    client: GuardedClient, config: WebTools, query: str, count: int, _most: int | None = None
) -> Found:
    """A SearXNG server, its JSON format switched on. Raises `OutboundError`."""
    if config.base_url is None:
        raise Refused("The agent's webTools name no baseUrl of a SearXNG server.")
    question = urlencode({"q": query, "format": "json"})
    told = await _get(client, config.base_url, f"/search?{question}", {})
    rows = told.get("results") or []
    results = (_result(row.get("title"), row.get("url"), row.get("content")) for row in rows)
    return Found(tuple(results)[:count])


async def search_brave(
    client: GuardedClient, config: WebTools, query: str, count: int, _most: int | None = None
) -> Found:
    """Brave's search API. Raises `OutboundError`."""
    question = urlencode({"q": query, "count": count})
    headers = {"X-Subscription-Token": _require_key(config, "BRAVE_API_KEY")}
    base = config.base_url or BRAVE
    told = await _get(client, base, f"/res/v1/web/search?{question}", headers)
    rows = (told.get("web") or {}).get("results") or []
    results = (_result(row.get("title"), row.get("url"), row.get("description")) for row in rows)
    return Found(tuple(results)[:count])


SEARCHES: Mapping[str, Search] = {
    "google": search_google,
    "searxng": search_searxng,
    "brave": search_brave,
}


async def _ask_gemini(
    client: GuardedClient, config: WebTools, text: str, tool: dict[str, Any], most: int | None
) -> tuple[dict[str, Any], Usage]:
    base = config.base_url or GOOGLE
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [{"text": text}]}], "tools": [tool],
    }  # fmt: skip
    if most is not None:
        body["generationConfig"] = {"maxOutputTokens": most}
    answer = await client.send(
        Outbound(
            url=f"{base.rstrip('/')}/v1beta/models/{quote(config.model, safe='')}:generateContent",
            method="POST",
            headers={
                "x-goog-api-key": _require_key(config, "GOOGLE_API_KEY"),
                "content-type": "application/json",
            },
            body=json.dumps(body).encode(),
            named=frozenset((parse_target(base).origin,)),
            seconds=SECONDS,
        )
    )
    told = _read(answer, "Gemini")
    candidates = told.get("candidates") or [{}]
    first: dict[str, Any] = candidates[0]
    return first, _read_usage(told.get("usageMetadata") or {})


def _read_usage(told: Mapping[str, Any]) -> Usage:
    """Tokens; what a tool of Gemini has read counts as input."""
    names = ("promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount",
             "candidatesTokenCount", "thoughtsTokenCount")  # fmt: skip
    found = (told.get(name) for name in names)
    counts = [count if isinstance(count, int) else 0 for count in found]
    prompt, read, cached, answer, thoughts = counts
    fresh = max(0, prompt + read - cached)
    return Usage(input=fresh, cache_read=cached, output=answer, reasoning=thoughts)


async def _get(
    client: GuardedClient, base: str, path: str, headers: Mapping[str, str]
) -> dict[str, Any]:
    named = frozenset((parse_target(base).origin,))
    answer = await client.send(
        Outbound(
            url=base.rstrip("/") + path,
            headers={"accept": "application/json", **headers},
            named=named,
            seconds=SECONDS,
        )
    )
    return _read(answer, parse_target(base).origin.host)


def _read(answer: Inbound, who: str) -> dict[str, Any]:
    if answer.status >= 400:  # bodies of errors may quote the key
        raise OutboundError(f"{who} answered with status {answer.status}.")
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise OutboundError(f"The answer of {who} is not JSON.") from None
    if not isinstance(told, dict):
        raise OutboundError(f"The answer of {who} is no object.")
    return told


def _require_key(config: WebTools, variable: str) -> str:
    if config.api_key is None:
        raise Refused(f"There is no key for searching: set {variable}, or apiKey of webTools.")
    return config.api_key.get_secret_value()


def _text_of(candidate: Mapping[str, Any]) -> str:
    parts = (candidate.get("content") or {}).get("parts") or []
    return "".join(str(part.get("text", "")) for part in parts if not part.get("thought")).strip()


def _result(title: Any, url: Any, snippet: Any) -> dict[str, str]:
    return {
        "title": str(title or url or "")[:300],
        "url": str(url or ""),
        "snippet": str(snippet or "")[:SNIPPET_CHARS],
    }
