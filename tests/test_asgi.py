"""What starts and ends with the server, and static files before Django."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings

from agentsite.asgi import Lifespan
from agentsite.statics import StaticFiles

Message = MutableMapping[str, Any]


class Part(ModuleType):
    """A module with a life: it notes what is asked of it, and may fail."""

    def __init__(self, name: str, told: list[str], fails: str = "") -> None:
        super().__init__(name)
        self.told, self.fails = told, fails

    async def startup(self) -> None:
        self.note("startup")

    def stopping(self, grace: float) -> None:
        self.note(f"stopping in {grace:.0f}")

    async def shutdown(self) -> None:
        self.note("shutdown")

    def note(self, what: str) -> None:
        self.told.append(f"{self.__name__} {what}")
        if what == self.fails:
            raise RuntimeError(f"{self.__name__} cannot")


@pytest.fixture
def told(settings: Any) -> Iterator[list[str]]:
    """Two parts are in the list; what they were told."""
    told: list[str] = []
    names = ("part_one", "part_two")
    settings.LIFESPAN = names
    for name in names:
        sys.modules[name] = Part(name, told)
    yield told
    for name in names:
        del sys.modules[name]


async def no_app(_scope: Message, _receive: object, _send: object) -> None:
    raise AssertionError("not asked for")


async def live(lifespan: Lifespan, between: bool) -> list[Message]:
    """One lifespan conversation; what the server heard."""
    said: asyncio.Queue[Message] = asyncio.Queue()
    heard: list[Message] = []
    said.put_nowait({"type": "lifespan.startup"})

    async def send(message: Message) -> None:
        heard.append(message)
        if message["type"] == "lifespan.startup.complete":
            if between:
                lifespan.announce_stop(2)
            said.put_nowait({"type": "lifespan.shutdown"})

    await lifespan({"type": "lifespan"}, said.get, send)
    return heard


async def test_parts_start_in_order_and_end_in_reverse(told: list[str]) -> None:
    heard = await live(Lifespan(no_app), between=True)
    assert [m["type"] for m in heard] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert told == [
        "part_one startup", "part_two startup",
        "part_two stopping in 2", "part_one stopping in 2",
        "part_two shutdown", "part_one shutdown",
    ]  # fmt: skip


async def test_failed_start_ends_what_had_started(told: list[str]) -> None:
    sys.modules["part_two"].fails = "startup"  # type: ignore[attr-defined]
    heard = await live(Lifespan(no_app), between=False)
    assert heard == [{"type": "lifespan.startup.failed", "message": "part_two cannot"}]
    assert told[-1] == "part_one shutdown"


async def test_failed_end_of_one_does_not_keep_the_other(told: list[str]) -> None:
    sys.modules["part_two"].fails = "shutdown"  # type: ignore[attr-defined]
    heard = await live(Lifespan(no_app), between=False)
    assert heard[-1]["type"] == "lifespan.shutdown.complete"
    assert told[-1] == "part_one shutdown"


async def ask_for(path: str, **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask the static files for a path: status, headers, body."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": pairs}
    await StaticFiles(no_app)(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def test_static_files_are_served_with_validators_and_ranges() -> None:
    status, headers, body = await ask_for("/static/admin/css/base.css")
    assert status == 200
    assert headers[b"content-type"].startswith(b"text/css")
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert int(headers[b"content-length"]) == len(body)
    status, _, part = await ask_for("/static/admin/css/base.css", range="bytes=0-9")
    assert (status, part) == (206, body[:10])
    since = headers[b"last-modified"].decode()
    status, _, nothing = await ask_for("/static/admin/css/base.css", if_modified_since=since)
    assert (status, nothing) == (304, b"")


async def test_nothing_outside_the_static_folders_is_served() -> None:
    for path in ("/static/", "/static/../settings.py", "/static/admin/../../../etc/passwd"):
        assert (await ask_for(path))[0] == 404


def test_any_server_can_import_the_application() -> None:
    """Without a command that has set Django up before."""
    subprocess.run([sys.executable, "-c", "import agentsite.asgi"], cwd=settings.ROOT, check=True)
