"""Environment variables: the only place of the manifest that reads `os.environ`.

`.env` at the agent's root is read in development and never overrides the
environment. `env:NAME` is resolved at load time, `scope:KEY` is left for the call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from agentsite.manifest.base import is_comment
from agentsite.manifest.problems import Location, Problem, join_path

PREFIX = "env:"
SHORTEST_SECRET = 4
"""Shorter values are not treated as secrets: removing them would garble every text."""


def read_environ() -> dict[str, str]:
    """Return a copy of the process's environment."""
    return dict(os.environ)


def read_dotenv(root: Path) -> dict[str, str]:
    """Return what `.env` at the root says; raises OSError or UnicodeDecodeError."""
    path = root / ".env"
    if not path.is_file():
        return {}
    values = dotenv_values(path, interpolate=False, encoding="utf-8")
    return {name: value for name, value in values.items() if value is not None}


def merge_environment(root: Path, env: Mapping[str, str], *, production: bool) -> dict[str, str]:
    """Return the environment an agent is loaded with; `.env` counts in development only."""
    return dict(env) if production else {**read_dotenv(root), **env}


@dataclass
class Resolver:
    """Replaces `env:NAME` in the strings of one load, and remembers what it handed out."""

    env: Mapping[str, str] = field(repr=False)
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set, repr=False)
    unresolved: set[tuple[str, str]] = field(default_factory=set)
    """(file, JSON path) of references that could not be resolved."""

    def resolve(self, value: Any, file: str, location: Location = ()) -> Any:
        """Return `value` with every reference replaced; missing ones become problems."""
        if isinstance(value, str):
            return self.look_up(value, file, location) if value.startswith(PREFIX) else value
        if isinstance(value, list):
            return [self.resolve(one, file, (*location, i)) for i, one in enumerate(value)]
        if isinstance(value, dict):
            free = bool(location) and location[-1] in ("headers", "env")
            return {
                key: one
                if is_comment(key) and not free
                else self.resolve(one, file, (*location, key))
                for key, one in value.items()
            }
        return value

    def look_up(self, reference: str, file: str, location: Location) -> str:
        name = reference.removeprefix(PREFIX).strip()
        path = join_path(location)
        if name in self.env:
            self.keep_secret(self.env[name])
            return self.env[name]
        message = (
            f'Environment variable "{name}" is not set'
            if name
            else 'Empty environment variable name in "env:" reference'
        )
        self.problems.append(Problem("ENV_NOT_SET", file, path, message))
        self.unresolved.add((file, path))
        return reference

    def keep_secret(self, value: str | None) -> None:
        """Remember a value that must never leave, and the password of an address."""
        if value is None or len(value) < SHORTEST_SECRET:
            return
        self.secrets.add(value)
        if "://" in value:
            try:
                password = urlsplit(value).password
            except ValueError:
                return
            self.keep_secret(password)
