"""What a webhook says: its payload, whose automation it means, and its sender's own id of it.

Law: pure readings of bytes and headers. Where anything else than the name is read from a body,
its signature was verified before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from automations_app.signatures import DEFAULT_HEADER, SENT_HEADERS

PATH = ":path"
"""Key under which the address is kept beside the headers of a stored delivery."""
BARE = "/webhooks"
"""The address whose body names the automation."""
FORM = "application/x-www-form-urlencoded"
ID_HEADERS = (
    "webhook-id",
    "svix-id",
    "x-github-delivery",
    "idempotency-key",
    "x-shopify-webhook-id",
)
"""The sender's id of a delivery, the first that is there."""
IDS_IN_BODIES = {"stripe": "id", "slack": "event_id"}
"""Senders whose id of an event is a field of the signed body."""
LONGEST_ID = 300
MOST_HEADERS = 64
LONGEST_HEADER = 1_000
PROVING = re.compile(r"signature|secret|token|authorization|cookie|password|api-?key", re.I)


class BadEvent(ValueError):
    """A body or an id that cannot be read; `str()` tells the sender why."""


def read_event(body: bytes, content_type: str, path: str) -> Any:
    """The payload as JSON values: of a form its fields, of the bare address its `data`.

    Raises `BadEvent`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    event = _read_form(body) if kind == FORM else _read_json(body)
    if path == BARE:
        return event.get("data") if isinstance(event, dict) else None
    return event


def _read_json(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadEvent("The body is not JSON.") from None


def _read_form(body: bytes) -> Any:
    """The fields; GitHub and Slack put one JSON document into the field `payload`."""
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1_000))
    except ValueError:
        raise BadEvent("The body is not a form.") from None
    return _read_json(fields["payload"].encode()) if list(fields) == ["payload"] else fields


def read_named(body: bytes) -> tuple[str, str | None]:
    """Automation and agent that a body of the bare address names. Raises `BadEvent`."""
    said = _read_json(body)
    name = said.get("automation") if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise BadEvent('The body names no automation: {"automation": "<name>", "data": {…}}.')
    unknown = sorted(said.keys() - {"automation", "data", "agentId"})
    if unknown:
        raise BadEvent(f'"{unknown[0]}" is not a known field; the payload belongs into "data".')
    agent = said.get("agentId")
    if agent is not None and not isinstance(agent, str):
        raise BadEvent('"agentId" must be a text.')
    return name, agent


def find_sender_id(dialect: str, headers: Mapping[str, str], event: Any) -> str | None:
    """The id under which the sender would send the same delivery again. Raises `BadEvent`.

    None when it gives none: then every delivery is a new one.
    """
    field = IDS_IN_BODIES.get(dialect)
    found = event.get(field) if field and isinstance(event, dict) else None
    if dialect == "standard-webhooks":  # what is signed, and nothing beside it
        found = headers.get("webhook-id") or headers.get("svix-id")
    elif found is None:
        found = next((headers[name] for name in ID_HEADERS if headers.get(name)), None)
    if found is None:
        return None
    if not isinstance(found, str) or not found.isprintable() or len(found) > LONGEST_ID:
        raise BadEvent(f"A delivery's id has 1 to {LONGEST_ID} printable characters.")
    return found


def keep_headers(headers: Mapping[str, str], path: str, auth_header: str = "") -> dict[str, str]:
    """What is stored of the headers: nothing that proves who sent them."""
    proofs = {name.lower() for name in (auth_header or DEFAULT_HEADER, *SENT_HEADERS)}
    kept = {
        name: value[:LONGEST_HEADER]
        for name, value in headers.items()
        if name.lower() not in proofs and not PROVING.search(name)
    }
    return {PATH: path, **dict(sorted(kept.items())[:MOST_HEADERS])}


def find_challenge(dialect: str, event: Any) -> str | None:
    """What Slack wants back when an address is entered; its body is signed like any other."""
    if dialect != "slack" or not isinstance(event, dict):
        return None
    challenge = event.get("challenge")
    is_asked = event.get("type") == "url_verification"
    return challenge if is_asked and isinstance(challenge, str) else None
