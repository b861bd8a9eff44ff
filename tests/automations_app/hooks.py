"""Webhooks as senders send them, and the server that takes them."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

from cryptography.fernet import Fernet

from agentsite.delivery.signing import sign_standard
from tests.automations_app.mailbox import Mailbox
from tests.lab import Lab, plan
from tests.server import Answer, Client
from tests.servers import Server

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()
STANDARD = {"type": "standard-webhooks", "tolerance": 300}


def sign(body: bytes, message_id: str = "", secret: str = SECRET) -> dict[str, str]:
    """The headers of Standard Webhooks, of a new delivery unless its id is given."""
    message_id, now = message_id or f"msg_{uuid.uuid4().hex}", int(time.time())
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign_standard(secret, message_id, now, body),
    }


class Hooks:
    """A laboratory whose webhooks are signed."""

    def __init__(self, lab: Lab, key: str, mailbox: Mailbox) -> None:
        self.lab = lab
        self.mailbox = mailbox
        self._fernet = Fernet(key)

    def seal(self, text: str) -> bytes:
        """As a secret stands in a row."""
        return self._fernet.encrypt(text.encode())

    def make(self, prompt: str = "", **columns: Any) -> str:
        """An automation that a signed webhook triggers; its name. JSON columns as values."""
        name = columns.pop("name", f"hook-{uuid.uuid4().hex[:12]}")
        given: dict[str, Any] = {
            "agent": "plain", "name": name, "origin": "staff", "title": name, "schedule": "",
            "prompt": prompt or plan({"text": "All well."}), "trigger": "webhook", "timezone": "",
            "overlap": "skip", "catch_up": "last", "write_enabled": True, "wait_for_person": False,
            "partition": "", "mode": "sync", "retries": 0, "changed": [], "paused": False,
            "pause_reason": "",
            "webhook_auth": STANDARD, "webhook_secret": self.seal(SECRET), **columns,
        }  # fmt: skip
        values = [
            json.dumps(value) if isinstance(value, dict | list) else value
            for value in given.values()
        ]
        places = ", ".join(["%s"] * len(given))
        self.lab.query(
            f"INSERT INTO automations_app_automation ({', '.join(given)}) VALUES ({places})"  # noqa: S608 - names of our own
            " RETURNING id",
            *values,
        )
        return str(name)

    def runs(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """Columns of the runs of an automation, oldest first."""
        return self.lab.query(
            f"SELECT {', '.join(f'r.{column}' for column in columns)}"  # noqa: S608 - names of our own
            " FROM automations_app_automationrun r"
            " JOIN automations_app_automation a ON a.id = r.automation_id"
            " WHERE a.name = %s ORDER BY r.created_at, r.id",
            name,
        )

    def has_runs(self, name: str, wanted: list[tuple[str, str]]) -> bool:
        """Whether these are all its runs, as id and status."""
        return self.runs(name, "id", "status") == wanted


def send(
    server: Server,
    name: str,
    event: Any,
    headers: dict[str, str] | None = None,
    *,
    path: str = "",
    **more: str,
) -> Answer:
    """Send a webhook; it is signed anew unless headers are given."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    client = Client(server, "", "plain")
    query = {"agentId": "plain"}
    given = {**(sign(body) if headers is None else headers), **more}
    return client.ask(
        "POST", path or f"/webhooks/{name}", body, headers=given, scope_id=None, **query
    )
