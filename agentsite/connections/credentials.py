"""The credentials of a connection, put into headers at the last moment.

Law: `env:` was resolved when the agent was loaded, `scope:KEY` is asked for at each call.
Neither is ever part of what is judged, shown or stored.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agentsite.connections.errors import Refused
from agentsite.manifest.connections import Auth, RestSpec

SCOPE = "scope:"
UNSENDABLE = re.compile(r"[\x00-\x1f\x7f]")
Credential = Callable[[str], Awaitable[str | None]]
"""The value of a key among the credentials of the call's scope; None when it has none."""


async def has_no_credentials(_key: str) -> str | None:
    """A scope without credentials."""
    return None


@dataclass
class Credentials:
    """Headers with secrets in them, and the secrets, for taking them out of answers."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)


async def resolve(connection: str, spec: RestSpec, credential: Credential) -> Credentials:
    """The headers to add. Raises `Refused` when the scope lacks a credential."""
    found = Credentials()

    async def reveal(value: str) -> str:
        if value.startswith(SCOPE):
            key = value.removeprefix(SCOPE).strip()
            revealed = await credential(key)
            if not revealed:
                raise Refused(
                    f'The scope of this conversation has no credential "{key}", which'
                    f' connection "{connection}" needs. An operator or the customer enters it.'
                )
            value = revealed
        if UNSENDABLE.search(value):
            raise Refused(f'A credential of connection "{connection}" holds control characters.')
        found.secrets.add(value)
        return value

    for name, secret in spec.headers.items():
        found.headers[name] = await reveal(secret.get_secret_value())
    if spec.auth is not None:
        name, value = _write_header(spec.auth, await reveal(spec.auth.token.get_secret_value()))
        found.headers[name] = value
        found.secrets.add(value.rpartition(" ")[2])
    return found


def _write_header(auth: Auth, token: str) -> tuple[str, str]:
    prefix = auth.prefix
    match auth.type:
        case "bearer":
            name, prefix = auth.header or "Authorization", "Bearer" if prefix is None else prefix
        case "basic":
            name, prefix = auth.header or "Authorization", "Basic" if prefix is None else prefix
            if ":" in token:
                token = base64.b64encode(token.encode()).decode()
        case "api_key":
            name = auth.header or "X-API-Key"
        case "header":
            name = auth.header or ""
    if not prefix:
        return name, token
    return name, f"{prefix}{token}" if prefix[-1] in " =:" else f"{prefix} {token}"
