"""A web server of a few pages on loopback, which keeps what it was asked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aiohttp import web

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    peer: Any


@dataclass
class Site:
    """The running server."""

    host: str = "127.0.0.1"
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    pages: dict[str, Page] = field(default_factory=dict)

    def url(self, path: str = "/", host: str = "") -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, headers, body, peer))
        page = self.pages.get(request.path)
        if page is None:
            return web.json_response({"path": request.raw_path})
        return await page(request)


@asynccontextmanager
async def serve_site(host: str = "127.0.0.1", **pages: Page) -> AsyncIterator[Site]:
    """Serve; a page's path is its name with a slash before it."""
    site = Site(host, pages={f"/{name}": page for name, page in pages.items()})
    runner = web.ServerRunner(web.Server(site.answer), shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, host, 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()


def redirect(location: str, status: int = 302) -> Page:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return page


@cache
def send_bomb(megabytes: int) -> Page:
    """A small body that unpacks to many megabytes."""
    packed = gzip.compress(b"\0" * megabytes * 1_000_000)

    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    return page


async def hang(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def drip(request: web.Request) -> web.StreamResponse:
    """Headers at once, then a byte now and then, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0.05)


async def set_cookie(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok", headers={"Set-Cookie": "session=1; Path=/"})
