"""`DATABASE_URL` in Django's words; used by `settings.py`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


def parse_database_url(url: str, problems: list[str]) -> dict[str, Any]:
    """Django's keys of a database; what is wrong with the address goes to `problems`."""
    wanted = "postgresql://user:password@host:port/name"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        problems.append(f"DATABASE_URL is not an address of the form {wanted}.")
        return {}
    if parts.scheme not in {"postgres", "postgresql"} or len(parts.path) < 2:
        problems.append(f"DATABASE_URL must be of the form {wanted}; only PostgreSQL is served.")
        return {}
    options = dict(parse_qsl(parts.query))
    return {
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or options.pop("user", "")),
        "PASSWORD": unquote(parts.password or options.pop("password", "")),
        "HOST": unquote(parts.hostname or options.pop("host", "")),
        "PORT": str(port or options.pop("port", "")),
        "OPTIONS": options,
    }
