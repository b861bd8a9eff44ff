"""What MCP servers offer to runs: looked at in the background, read off rows when a run starts.

Law: no run waits for a server, but for one that was never listed, in the seconds after it is
looked at for the first time.
What a server offers is what an operator has accepted of its newest listing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from django.db import Error as DatabaseError

from agentsite.manifest.bundle import Bundle
from agentsite.mcp_client.endpoint import Key, Reveal, needs_scope, settle
from agentsite.mcp_client.errors import Unavailable
from agentsite.operations import pins
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import unit
from agentsite.tools.base import have_none
from agentsite.tools.mcp import Accepted, import_sdk

if TYPE_CHECKING:
    from agentsite.host.agents import Agent
    from agentsite.host.driver import Driver

logger = logging.getLogger(__name__)

FIRST_LOOK_SECONDS = 8.0
"""So long after a server is looked at for the first time runs wait for what it lists."""
LOOK_AGAIN_SECONDS = 600.0
KEPT_LOOKS = 10_000
NOT_A_SCOPES = "MCP servers are an agent's, not a scope's"
MISSING = "Some tools are not there at the moment: {names} cannot be reached."
Look = tuple[Key, str]
"""Whose look it was, and for which version of the agent."""


class Known(NamedTuple):
    """What the last look at a server led to."""

    again_at: float
    """Monotonic seconds; before that there is no other look."""
    problem: str


class McpServers:
    """What this process knows of the servers of its agents."""

    def __init__(self) -> None:
        self._looks: dict[Look, asyncio.Task[None]] = {}
        self._firsts: dict[Look, float] = {}
        """Of those under way, when they began that are the first at their server."""
        self._known: dict[Look, Known] = {}

    async def equip(self, driver: Driver) -> str | None:
        """Give a run the tools of its servers; what its user is told of those that are missing."""
        conversation = driver.conversation
        agent, scope_id = conversation.agent, conversation.scope_id
        if not (servers := agent.bundle.mcp_servers):
            return None
        accepted = await read_accepted(agent)
        reveal = driver.calls.open_credential
        for name in servers:
            self._look(agent, name, scope_id, reveal)
        new = [name for name in servers if name not in accepted]
        if await self._wait(agent, scope_id, new):
            accepted = await read_accepted(agent)
        conversation.take(agent.offer(admin=conversation.request.admin, accepted=accepted))
        missing = [name for name in servers if name not in accepted]
        return MISSING.format(names=", ".join(missing)) if missing else None

    async def warm(self, agent: Agent) -> None:
        """Look at servers that were never listed, before the first run asks for them."""
        if not (servers := agent.bundle.mcp_servers):
            return
        accepted = await read_accepted(agent)
        new = [n for n, spec in servers.items() if n not in accepted and not needs_scope(spec)]
        for name in new:
            self._look(agent, name, "", have_none)

    async def close(self) -> None:
        """Close all connections and end what is under way. No run is left that has calls."""
        if not self._known and not self._looks:
            return  # nothing was ever opened, and the SDK not even imported
        await import_sdk()
        from agentsite.tools.mcp_calls import close_mcp_pool

        tasks = list(self._looks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await close_mcp_pool()

    def _place(self, agent: Agent, name: str, scope_id: str) -> Look:
        own = needs_scope(agent.bundle.mcp_servers[name])
        return Key(agent.id, name, scope_id if own else ""), agent.bundle.hash

    async def _wait(self, agent: Agent, scope_id: str, names: Iterable[str]) -> bool:
        """Wait for first looks, each until so long after it began; whether there were any."""
        places = [self._place(agent, name, scope_id) for name in names]
        firsts = [place for place in places if place in self._firsts]
        if not firsts:
            return False
        last = max(self._firsts[place] for place in firsts)
        tasks = [self._looks[place] for place in firsts]
        await asyncio.wait(tasks, timeout=max(0.0, last + FIRST_LOOK_SECONDS - time.monotonic()))
        return True

    def _look(self, agent: Agent, name: str, scope_id: str, reveal: Reveal) -> None:
        """Begin to look at a server, unless that was done lately."""
        place, now = self._place(agent, name, scope_id), time.monotonic()
        known = self._known.get(place)
        if place in self._looks or (known is not None and now < known.again_at):
            return
        if known is None:
            self._firsts[place] = now
        key = Key(agent.id, name, scope_id)
        look = self._list(place, agent.bundle, key, reveal)
        self._looks[place] = task = asyncio.create_task(look, name=f"mcp look {name}")
        task.add_done_callback(lambda _: self._end_look(place))

    def _end_look(self, place: Look) -> None:
        del self._looks[place]
        self._firsts.pop(place, None)
        while len(self._known) > KEPT_LOOKS:
            self._known.pop(next(iter(self._known)))

    async def _list(self, place: Look, bundle: Bundle, key: Key, reveal: Reveal) -> None:
        """Look at one server; what it lists is taken down on the way, here what is wrong."""
        await import_sdk()
        from agentsite.tools.mcp_calls import list_server

        if place in self._firsts:
            self._firsts[place] = time.monotonic()  # the import is not the server's fault
        known, problem = self._known.pop(place, None), None
        try:
            server = bundle.mcp_servers[key.server]
            endpoint = await settle(key.server, server, bundle.root, reveal)
            self._known[place] = Known(0.0, "" if known is None else known.problem)
            problem = await list_server(key, endpoint)
            if problem is None:
                self._known[place] = Known(time.monotonic() + LOOK_AGAIN_SECONDS, "")
                return
            self._known[place] = Known(0.0, problem)  # the pool says when it is tried again
        except Unavailable as error:  # a credential is missing: nothing was looked at yet
            problem = str(error)
        except DatabaseError as error:
            logger.warning("What the MCP server %s lists is not taken down: %s", key.server, error)
            return
        if known is None or known.problem != problem:
            logger.warning("%s", problem)
            await note_problem(key, problem)


async def note_problem(key: Key, problem: str) -> None:
    """Take down why a server cannot be used, for operators."""
    try:
        with acting_for_all(NOT_A_SCOPES):
            await unit(pins.record_problem, key.agent, key.server, problem)
    except DatabaseError as error:
        logger.warning("A problem of the MCP server %s is not taken down: %s", key.server, error)


async def read_accepted(agent: Agent) -> Accepted:
    """The tools that may be offered, by server; servers that were never listed are missing."""
    if not agent.bundle.mcp_servers:
        return {}
    with acting_for_all(NOT_A_SCOPES):
        return await unit(pins.list_accepted, agent.id)
