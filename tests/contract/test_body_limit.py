"""Bodies that are too large: refused at once, told so, and harmless to others."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from tests.server import PATIENCE, Client

MB = 1024 * 1024


def begin(client: Client, path: str, *headers: str) -> socket.socket:
    """A connection on which a request has begun."""
    raw = socket.create_connection(("127.0.0.1", client.server.port), PATIENCE)
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    raw.sendall("\r\n".join([*lines, "", ""]).encode())
    return raw


def read(raw: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and error of the response, after which the server has closed."""
    response = HTTPResponse(raw)
    response.begin()
    error = json.loads(response.read())["error"]
    assert response.getheader("connection") == "close"
    return response.status, error


@pytest.mark.parametrize(
    ("path", "size"), [("/chat/stream", 41 * MB), ("/chat", 41 * MB), ("/widget-actions", 2 * MB)]
)
def test_a_declared_length_is_judged_before_the_body(client: Client, path: str, size: int) -> None:
    with begin(client, path, f"Content-Length: {size}") as raw:
        status, error = read(raw)
    assert (status, error["code"]) == (413, "body_too_large")
    assert "40 MB" in error["message"] or "1 MB" in error["message"]


def test_a_client_that_sends_all_first_sees_the_answer(client: Client) -> None:
    body = json.dumps(client.message("x" * (41 * MB))).encode()
    answer = client.ask("POST", "/chat", body)
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_nobody_is_told_to_go_on(client: Client) -> None:
    headers = (f"Content-Length: {41 * MB}", "Expect: 100-continue")
    with begin(client, "/chat", *headers) as raw:
        assert raw.recv(12) == b"HTTP/1.1 413"


def chunks(count: int) -> Iterator[bytes]:
    """A JSON string of so many times 64 KB."""
    yield b'{"message": "'
    for _ in range(count):
        yield b"x" * 65536
    yield b'"}'


@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_a_chunked_body_is_counted(client: Client, method: str) -> None:
    connection = HTTPConnection("127.0.0.1", client.server.port, timeout=PATIENCE)
    headers = {"Content-Type": "application/json"}
    connection.request(method, "/widget-actions", chunks(40), headers, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, json.load(response)["error"]["code"]) == (413, "body_too_large")
    connection.close()
    connection.request("POST", "/chat", chunks(3), headers, encode_chunked=True)
    assert connection.getresponse().status in (200, 400)
    connection.close()


def test_a_body_just_below_the_limit_is_read(client: Client) -> None:
    body = json.dumps(client.message("x" * (39 * MB))).encode()
    answer = client.ask("POST", "/chat", body)
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert "200000" in answer.json["error"]["message"]


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "", "12, 12"])
def test_a_broken_length_is_refused(client: Client, length: str) -> None:
    with begin(client, "/chat", f"Content-Length: {length}") as raw:
        assert raw.recv(12) == b"HTTP/1.1 400"


def test_a_flood_of_large_bodies_disturbs_nobody(client: Client) -> None:
    held = [begin(client, "/chat", f"Content-Length: {41 * MB}") for _ in range(50)]
    assert client.say("plain")[-1].event == "done"
    assert all(read(raw)[0] == 413 for raw in held)
    for raw in held:
        raw.close()
