"""The HTTP side of the terminal client: the five calls a chat needs, and frames.

Law: a broken connection is `Disconnected`, which the conversation mends by asking
for the events behind the last number; a refusal is `Refused` with the server's words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpx2

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 45.0
"""Three missed keepalives mean that the connection is dead."""


class Disconnected(Exception):
    """The connection broke or never came about."""


class Refused(Exception):
    """The server said no; the text is meant for the user."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Frame:
    """One SSE frame."""

    seq: int | None
    """Its number in the session's log; None where it carries none."""
    event: str
    data: dict[str, Any]


class ChatClient:
    """Talks to one server about one scope, with a key where the server asks for one."""

    def __init__(self, url: str, *, scope: str = "", agent: str = "", key: str = "") -> None:
        self.url = url.rstrip("/")
        self._scope = scope
        self._agent = agent
        host = httpx2.URL(self.url).host
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not is_loopback(host),  # a proxy has no way to this machine's own loopback
        )

    def close(self) -> None:
        self._http.close()

    def start(self, message: str, session: str | None) -> Iterator[Frame]:
        """Send a message and yield the frames of its run."""
        body: dict[str, Any] = {"message": message}
        if session:
            body["sessionId"] = session
        if self._scope:
            body["scope_id"] = self._scope
        if self._agent:
            body["agentId"] = self._agent
        return self._stream("POST", "/chat/stream", json=body)

    def follow(self, session: str, after: int) -> Iterator[Frame]:
        """Yield the frames of a session behind a number, then live ones."""
        query = {"after": str(after), **self._scope_query()}
        return self._stream("GET", f"/sessions/{session}/events", params=query)

    def answer(self, session: str, interaction: str, answer: dict[str, Any]) -> None:
        """Answer a question of a run: `{"approved": bool}` or `{"answers": {…}}`."""
        body = {"sessionId": session, "interactionId": interaction, **answer}
        if self._scope:
            body["scope_id"] = self._scope
        self._post("/ask-user-response", body)

    def interrupt(self, session: str) -> None:
        """Stop the session's live run; harmless when there is none."""
        self._post(f"/sessions/{session}/interrupt", {}, self._scope_query())

    def _scope_query(self) -> dict[str, str]:
        return {"scope_id": self._scope} if self._scope else {}

    def _post(self, path: str, body: dict[str, Any], query: dict[str, str] | None = None) -> None:
        with self._mend_errors():
            response = self._http.post(path, json=body, params=query or {})
            check(response)

    def _stream(self, method: str, path: str, **request: Any) -> Iterator[Frame]:
        headers = {"Accept": "text/event-stream"}
        with (
            self._mend_errors(),
            self._http.stream(method, path, headers=headers, **request) as response,
        ):
            check(response)
            for event in httpx2.EventSource(response):
                if event.data:
                    seq = int(event.id) if event.id.isdigit() else None
                    yield Frame(seq, event.event, json.loads(event.data))

    @contextmanager
    def _mend_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.TransportError, json.JSONDecodeError) as error:
            raise Disconnected(str(error) or type(error).__name__) from error


def check(response: httpx2.Response) -> None:
    """Raise `Refused` with what the server says, unless it agreed."""
    if response.is_success:
        return
    response.read()
    code, message = "", f"the server answered {response.status_code}"
    try:
        error = response.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        pass
    raise Refused(response.status_code, code, message)


def is_loopback(host: str) -> bool:
    """Tell whether a host name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
