"""API requests are served on the event loop alone, and end when their client leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import MutableMapping
from inspect import iscoroutinefunction
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from agentsite import urls
from agentsite.handler import THREADLESS, Handler
from agentsite.management import serve
from tests.requirements import requirement

Message = MutableMapping[str, Any]


def ask(address: str, method: str = "GET") -> Message:
    """An ASGI scope."""
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": address, "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "server": ("::1", 2),
    }  # fmt: skip


class Client:
    """One connection: sends an empty body, stays until it leaves, keeps what it gets."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.got: list[Message] = []
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.got.append(message)


@requirement("http.on-the-loop")
def test_all_views_that_are_promised_no_thread_are_coroutines() -> None:
    found = {
        f"/{pattern.pattern}": iscoroutinefunction(pattern.callback)
        for pattern in urls.urlpatterns
        if isinstance(pattern, URLPattern) and f"/{pattern.pattern}".startswith(THREADLESS)
    }
    assert len(found) > 20
    assert [address for address, is_coroutine in found.items() if not is_coroutine] == []


@requirement("http.on-the-loop")
async def test_an_api_request_begins_no_thread(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, start = [], threading.Thread.start

    def note(thread: threading.Thread) -> None:
        begun.append(thread.name)
        start(thread)

    async def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse("here")

    monkeypatch.setattr(threading.Thread, "start", note)
    settings.ROOT_URLCONF = tuple(path(name, answer) for name in ("chat", "webhooks", "other"))
    for address, threads in (("/chat", False), ("/webhooks", False), ("/other", True)):
        client = Client()
        await Handler()(ask(address), client.receive, client.send)
        assert client.got[1]["body"] == b"here"
        assert bool(begun) is threads


async def test_a_large_body_leaves_in_pieces_and_a_small_one_at_once(settings: Any) -> None:
    body = bytes(range(256)) * 1_000

    async def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(body if request.path == "/chat" else body[:100])

    settings.ROOT_URLCONF = tuple(path(name, answer) for name in ("chat", "webhooks"))
    for address, whole in (("/chat", body), ("/webhooks", body[:100])):
        client = Client()
        await Handler()(ask(address), client.receive, client.send)
        pieces = client.got[1:]
        assert b"".join(piece["body"] for piece in pieces) == whole
        assert all(len(piece["body"]) <= Handler.chunk_size for piece in pieces)
        assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]


async def test_only_threads_give_back_what_a_request_left(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    receiver = lambda **signal: told.append(signal["sender"])  # noqa: E731
    monkeypatch.setattr(serve, "LET_GO", (receiver, receiver))
    serve.let_go(sender="loop")
    await asyncio.to_thread(serve.let_go, sender="thread")
    assert told == ["thread", "thread"]


@requirement("http.on-the-loop")
async def test_a_client_that_leaves_ends_its_request(settings: Any) -> None:
    ended = asyncio.Event()
    client = Client()

    async def wait(request: HttpRequest) -> HttpResponse:
        client.leaves.set()
        try:
            return await asyncio.Future()
        finally:
            ended.set()

    settings.ROOT_URLCONF = (path("chat", wait),)
    async with asyncio.timeout(30):
        await Handler()(ask("/chat"), client.receive, client.send)
    assert ended.is_set()
    assert client.got == []
