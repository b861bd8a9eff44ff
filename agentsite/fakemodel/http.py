"""A small HTTP/1.1 server for streams: one protocol object per connection, no per-frame tasks.

It must feed 300 streams of 50 frames a second from a part of one core, so answers are bytes
that were framed beforehand, and a stream is one timer that writes whatever is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import httptools
import msgspec

_LAST_CHUNK = b"0\r\n\r\n"
_BURST = 256
"""Frames per write when a stream has no rate: about 40 KB."""


class Call(msgspec.Struct):
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Script(msgspec.Struct, frozen=True):
    """A response to play. `steps` are chunks framed by `frame_chunk`.

    `after` is what follows the steps: `end` closes the body, `cut` drops the connection,
    `hang` keeps it open and silent.
    """

    head: bytes
    opening: bytes = b""
    steps: Sequence[bytes] = ()
    closing: bytes = b""
    rate: float = 0.0
    delay: float = 0.0
    after: str = "end"


def frame_chunk(data: bytes) -> bytes:
    """Return data as one chunk of a chunked body; nothing stays nothing."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def write_head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection(asyncio.Protocol):
    """Reads requests, plays one script at a time, and tells when the client leaves in between."""

    def __init__(self, answer: Callable[[Call], Script], on_change: Callable[[int, int], None]):
        self._answer = answer
        self._on_change = on_change
        """Called with the change of open streams and of streams left by their client."""
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._script: Script | None = None
        self._next = 0
        self._started = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._script is not None:
            self._script = None
            self._on_change(-1, 1)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._script is not None and self._timer is None:
            self._play()

    def on_message_begin(self) -> None:
        self._target, self._headers = b"", {}
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        call = Call(method, self._target.decode(), dict(self._headers), bytes(self._body))
        self._script = script = self._answer(call)
        self._next = 0
        self._on_change(1, 0)
        if script.delay > 0:
            self._timer = self._loop.call_later(script.delay, self._begin, script)
        else:
            self._begin(script)

    def _begin(self, script: Script) -> None:
        self._started = self._loop.time()
        self._transport.write(script.head + script.opening)
        self._play()

    def _play(self) -> None:
        """Write what is due, then wait for the time of the next step or for room to write."""
        self._timer = None
        script = self._script
        if script is None or self._transport.is_closing():
            return
        total = len(script.steps)
        if script.rate > 0:
            due = int((self._loop.time() - self._started) * script.rate + 1e-6) + 1
            self._send(script, min(due, total))
            if self._next < total:
                at = self._started + self._next / script.rate
                self._timer = self._loop.call_at(at, self._play)
                return
        else:
            while self._next < total:
                if self._paused:
                    return
                self._send(script, min(self._next + _BURST, total))
        self._end(script)

    def _send(self, script: Script, until: int) -> None:
        if until == self._next + 1:
            self._transport.write(script.steps[self._next])
        elif until > self._next:
            self._transport.write(b"".join(script.steps[self._next : until]))
        self._next = until

    def _end(self, script: Script) -> None:
        if script.after == "hang":
            return
        self._script = None
        self._on_change(-1, 0)
        if script.after == "cut":
            self._transport.close()
        elif script.closing:
            self._transport.write(script.closing)


def end_body(data: bytes) -> bytes:
    """Return the last chunks of a chunked body."""
    return frame_chunk(data) + _LAST_CHUNK
