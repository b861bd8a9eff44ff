"""The measuring client: one object per connection, bytes counted as they arrive.

It must not be the bottleneck, so nothing is decoded: text is found by one search per read.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Mapping
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from agentsite.management.bench.fake import STAMP

NO_HEADERS: Mapping[str, str] = {}
OF_SERVER = re.compile(rb'"delta":"([^"]+)"')
OF_MODEL = re.compile(rb'"text":"([^"]+)"')


class Recorder:
    """What all streams of one measurement saw while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.characters = 0
        self.delays = array("d")
        """Milliseconds between the stamp of a delta and its arrival."""

    def see(self, stamps: bytes) -> None:
        """Note whole stamps that arrived just now; several deltas may have been joined."""
        now = time.time_ns() // 1000
        self.characters += len(stamps)
        for at in range(0, len(stamps), STAMP):
            self.delays.append((now - int(stamps[at : at + STAMP - 1])) / 1000)


class Answer(msgspec.Struct):
    """One response, times in seconds of the monotonic clock; 0 is not yet."""

    asked: float
    status: int = 0
    first: float = 0.0
    """When the first text came."""
    ended: float = 0.0
    characters: int = 0
    body: bytes = b""

    @property
    def wait_ms(self) -> float:
        """Milliseconds to the first text."""
        return (self.first - self.asked) * 1000

    @property
    def whole_ms(self) -> float:
        """Milliseconds to the end."""
        return (self.ended - self.asked) * 1000


class Line(asyncio.Protocol):
    """A connection that asks one thing at a time and is kept for the next."""

    def __init__(self, pattern: re.Pattern[bytes], recorder: Recorder | None) -> None:
        self._find = pattern.findall
        self._recorder = recorder
        self._rest = b""
        self._cut = b""
        """The beginning of a stamp whose rest is still to come."""
        self._streams = False
        self._answer: Answer | None = None
        self._done: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(
        cls, url: str, pattern: re.Pattern[bytes] = OF_SERVER, recorder: Recorder | None = None
    ) -> Self:
        """Connect to the host of `url`. A recorder takes the stamps of the texts."""
        place = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: cls(pattern, recorder), place.hostname or "127.0.0.1", place.port or 80
        )
        return line

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Send a request and wait for the end of its response. Raises ConnectionError."""
        self._done = asyncio.get_running_loop().create_future()
        self.send(method, path, body, headers)
        return await self._done

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        """Send without waiting; what comes is recorded."""
        self._parser = httptools.HttpResponseParser(self)
        self._rest = self._cut = b""
        self._answer = Answer(asked=time.perf_counter())
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
            "Content-Type: application/json\r\n"
            f"{more}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def close(self) -> None:
        """Leave, whatever is still coming."""
        self._transport.abort()

    # ---- asyncio's and httptools' own names ------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("the connection was closed in an answer"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._streams = value.startswith(b"text/event-stream")

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        if answer is None:
            return
        if not self._streams:
            answer.body += body
            return
        whole = self._rest + body if self._rest else body
        end = whole.rfind(b"\n\n") + 2
        self._rest = whole[end:] if end > 1 else whole
        texts = self._find(whole, 0, end) if end > 1 else []
        if texts:
            if not answer.first:
                answer.first = time.perf_counter()
            for text in texts:
                answer.characters += len(text)
            if self._recorder is not None:
                self._note(b"".join(texts), self._recorder)

    def _note(self, text: bytes, recorder: Recorder) -> None:
        """Stamps may come cut: the server keeps back what could be the beginning of a secret."""
        stamps = self._cut + text
        end = len(stamps) - len(stamps) % STAMP
        self._cut = stamps[end:]
        if recorder.on:
            recorder.see(stamps[:end])

    def on_message_complete(self) -> None:
        if self._answer is not None and self._done is not None:
            self._answer.status = self._parser.get_status_code()
            self._answer.ended = time.perf_counter()
            self._done.set_result(self._answer)
