"""Pages of the web as text a model can read.

Law: the address comes from a model, so nothing private is reached; the answer is cut, and
of HTML only what a reader would read is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentsite.connections.client import GuardedClient, Inbound, Outbound
from agentsite.connections.errors import OutboundError, Refused
from agentsite.connections.rates import Rate

SECONDS = 10.0
LARGEST_PAGE = 1_000_000
TEXT_CHARS = 40_000
PER_HOST = Rate("fetch_url", 10, 60.0)
ACCEPT = "text/html,application/xhtml+xml,text/plain,application/json;q=0.9,*/*;q=0.5"
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
CHARSET = re.compile(rb"charset=[\"']?([\w-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read."""

    url: str
    status: int
    kind: str
    content: str
    cut: bool


async def fetch_page(client: GuardedClient, url: str) -> Page:
    """Get a page. Raises `OutboundError`."""
    answer = await client.send(
        Outbound(
            url=url,
            headers={"accept": ACCEPT},
            seconds=SECONDS,
            max_bytes=LARGEST_PAGE,
            cut=True,
            rate=PER_HOST,
        )
    )
    if answer.status >= 400:
        raise OutboundError(f"{answer.url.host} answered with status {answer.status}.")
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not _is_text(kind, answer.body):
        raise Refused(f"The page is {kind or 'of an unknown type'}; only text can be read.")
    return Page(str(answer.url), answer.status, kind, _decode(answer), answer.cut)


def extract_text(page: Page) -> tuple[str, str]:
    """Title and readable text of a page, Markdown for HTML. Slow for large ones: for a thread."""
    if "html" not in page.kind and "<html" not in page.content[:1_000].lower():
        return "", page.content[:TEXT_CHARS]
    import trafilatura

    text = trafilatura.extract(
        page.content, url=page.url, output_format="markdown", include_links=True, fast=True
    )
    found = TITLE.search(page.content)
    title = " ".join(found[1].split())[:300] if found else ""
    return title, (text or _strip_tags(page.content))[:TEXT_CHARS]


def _strip_tags(html: str) -> str:
    """All text of a page in which no article was found."""
    bare = re.sub(r"<(script|style|template)\b.*?(</\1>|\Z)", " ", html, flags=re.I | re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", bare).split())


def _is_text(kind: str, body: bytes) -> bool:
    if kind.startswith("text/") or any(word in kind for word in ("json", "xml", "javascript")):
        return True
    return not kind and b"\x00" not in body[:1_000]


def _decode(answer: Inbound) -> str:
    told = CHARSET.search(answer.headers.get("Content-Type", "").encode())
    told = told or CHARSET.search(answer.body[:2_000])
    try:
        return answer.body.decode(told[1].decode() if told else "utf-8", "replace")
    except LookupError:
        return answer.body.decode("utf-8", "replace")
