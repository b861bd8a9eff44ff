"""A server of a few lines on loopback that plays a session's log, cut where a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SESSION = "sess_probe"
USAGE = {"total_tokens": 1234}


@dataclass
class Played:
    """What one connection is sent: frames, then how it ends."""

    frames: list[tuple[int | None, str, dict[str, Any]]]
    broken: bool = False
    """True tears the connection, False ends the body in an orderly way."""


@dataclass
class FakeHost:
    """Answers in turn what `streams` holds, and remembers what it was asked."""

    streams: list[Played] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    refusals: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    url: str = ""
    credentials: set[str | None] = field(default_factory=set)
    """The `Authorization` headers that requests had."""

    def asked(self, path: str) -> list[dict[str, Any]]:
        """Return the bodies, or queries, of the requests to a path."""
        return [body for _, where, body in self.requests if where == path]


def init(seq: int = 1) -> tuple[int, str, dict[str, Any]]:
    return seq, "init", {"type": "init", "sessionId": SESSION, "runId": "run_1"}


def text(seq: int, delta: str) -> tuple[int, str, dict[str, Any]]:
    return seq, "text_delta", {"type": "text_delta", "delta": delta}


def done(seq: int | None, reason: str = "model_stop") -> tuple[int | None, str, dict[str, Any]]:
    cost = {"currency": "USD", "estimatedCostMicros": 38795}
    return seq, "done", {"type": "done", "reason": reason, "usage": USAGE, "cost": cost}


class FakeServer(ThreadingHTTPServer):
    """A server on a free port of loopback."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = host


class Handler(BaseHTTPRequestHandler):
    """One request to the fake server."""

    server: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.respond("GET", parts.path, query)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.respond("POST", urlsplit(self.path).path, body)

    def respond(self, method: str, path: str, body: dict[str, Any]) -> None:
        host = self.server.host
        host.requests.append((method, path, body))
        host.credentials.add(self.headers["Authorization"])
        if path in host.refusals:
            self.send_json(*host.refusals[path])
        elif path == "/chat/stream" or path.endswith("/events"):
            self.play(host.streams.pop(0))
        else:
            self.send_json(200, {"ok": True})

    def send_json(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def play(self, played: Played) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.send_chunk(b": keepalive\n\n")
        for seq, event, data in played.frames:
            number = b"" if seq is None else b"id: %d\n" % seq
            line = json.dumps(data).encode()
            self.send_chunk(b"%sevent: %s\ndata: %s\n\n" % (number, event.encode(), line))
        if played.broken:
            self.send_chunk(b"event: text_delta\ndata: {")
        else:
            self.send_chunk(b"")
        self.close_connection = True

    def send_chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))


@contextmanager
def serve(host: FakeHost) -> Iterator[FakeHost]:
    """Serve on a free port until the block ends."""
    server = FakeServer(host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
