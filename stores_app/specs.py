"""The stores of served agents, for staff: the admin knows no run that carries them."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from django.conf import settings

from agentsite.manifest.env import read_environ
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import Agents, UnknownAgent
from stores_app.errors import StoreError, StoreNotFound
from stores_app.places import Place, find_place


class AgentNotServed(StoreError):
    """The agent's files have errors."""

    code = "agent_unavailable"


@cache
def served_agents() -> Agents:
    return Agents.discover(
        read_environ,
        agent_dir=settings.AGENT_DIR,
        agents_dir=settings.AGENTS_DIR,
        production=settings.PRODUCTION,
    )


def open_for_staff(agent: str, scope_id: str, store: str) -> Place:
    """A store of any scope, on behalf of staff. Reads files. Raises `StoreError`."""
    try:
        bundle = served_agents().get(agent)
    except UnknownAgent as error:
        raise StoreNotFound(f"{agent}/{store}") from error
    except ManifestError as error:
        text = "The agent's files have errors; `manage.py validate` lists them"
        raise AgentNotServed(text) from error
    place = find_place(agent, scope_id, bundle.stores, store)
    if place.spec.shared:  # staff keep what all scopes share
        return find_place(agent, "", bundle.stores, store)
    return place


def list_stores() -> list[tuple[str, str]]:
    """Agent and name of every store that is served; agents with errors are left out."""
    found = []
    for agent in sorted(served_agents().sources):
        with suppress(ManifestError):
            found += [(agent, spec.name) for spec in served_agents().get(agent).stores]
    return found
