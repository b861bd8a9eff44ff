"""The host of this process: made at startup on the event loop, ended at shutdown.

Law: one per process; whoever needs it asks `site()`. Nothing else in the project
is a global that changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from typing import Any

from django.conf import settings

from agentsite import __version__
from agentsite.connections.client import close_guarded_client
from agentsite.engine.deltas import Usage
from agentsite.host.agents import Agent, ServedAgents
from agentsite.host.bus import Bus
from agentsite.host.callers import Callers
from agentsite.host.clock import new_id
from agentsite.host.embedding import Embedding
from agentsite.host.heartbeat import Heartbeat
from agentsite.host.hub import Hub
from agentsite.host.journal import Journal
from agentsite.host.ledger import Ledger
from agentsite.host.listener import Listener
from agentsite.host.manifest_news import ManifestNews
from agentsite.host.redaction import LOGS, server_secrets
from agentsite.host.runs import Runs
from agentsite.host.scopes_file import import_scopes
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.env import read_environ
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import Agents
from agentsite.providers.registry import close_clients, warm
from agentsite.rows.tenancy import acting_for_all
from agentsite.rows.units import close_units, unit
from agentsite.telemetry.export import begin_export
from stores_app.sharing import follow_shared

logger = logging.getLogger(__name__)

HANDOVER_SECONDS = 0.5
STREAMS_SECONDS = 0.3
"""Of it, until streams end though runs are still being handed over."""


def _follow_stores(agent: str, bundle: Bundle) -> None:
    follow_shared(agent, bundle.stores)


class Site:
    """Everything that lives as long as the process."""

    def __init__(self, agents: Agents, *, private: bool = False) -> None:
        self.private = private
        """A command's own: it takes no run but those that the command starts."""
        self.started_at = time.monotonic()
        self.owner = new_id("host")
        self.agents = ServedAgents(agents)
        self.callers = Callers()
        self.hub = Hub()
        self.journal = Journal(self.hub, settings.JOURNAL_FLUSH_MS / 1000)
        self.ledger = Ledger()
        self.runs = Runs(self.owner, self.agents, self.hub, self.journal, self.ledger)
        self.runs.accepting = not private
        self.heartbeat = Heartbeat(self.runs, self.journal)
        self.bus = Bus()
        self.manifest_news = ManifestNews(self.agents)
        self.manifest_news.listeners.append(_follow_stores)
        self.embedding = Embedding(self.agents, self.ledger)
        self.listener = Listener(
            self.hub, self.runs.last_given, self.runs.hear, self.runs.take_up, self._wake_readers
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None
        self._exports: list[Any] = []

    async def open(self) -> None:
        """Start what runs beside requests; the newest manifest is read here first."""
        for handler in (*logging.root.handlers, *logging.getLogger("django").handlers):
            handler.addFilter(LOGS)
        LOGS.learn(server_secrets())
        self._exports = begin_export(__version__) if settings.OTLP else []
        with acting_for_all("agents are no scope's"):
            await unit(self.agents.current)
            if not self.private:
                await self._warm_up()
        await self.ledger.read()
        self.journal.start()
        self._tasks = [
            asyncio.create_task(self.listener.listen_for_ever(), name="listener"),
            asyncio.create_task(self.heartbeat.renew_for_ever(), name="heartbeat"),
            asyncio.create_task(self.heartbeat.take_over_for_ever(), name="takeover"),
            asyncio.create_task(self._tick(), name="keepalive"),
            asyncio.create_task(self.bus.feed_for_ever(), name="event bus"),
            asyncio.create_task(self.manifest_news.watch_for_ever(), name="manifests"),
            asyncio.create_task(self.embedding.work_for_ever(), name="embedding"),
            asyncio.create_task(self.ledger.follow(), name="ledger"),
        ]

    def _wake_readers(self) -> None:
        """The event bus has news: every write of a document is among them."""
        self.bus.wake()
        self.embedding.wake()

    async def _warm_up(self) -> None:
        """Load what first requests would wait for: SDKs and clients, prices, prompts and tools."""
        for name in self.agents.sources.sources:
            with contextlib.suppress(ManifestError):  # it is told of where it is asked for
                agent = await unit(self.agents.current, name)
                if agent.bundle.notice is not None:
                    logger.warning("%s: %s", name, agent.bundle.notice)
                await self.warm_up(agent)
                if not settings.PRODUCTION:
                    await unit(import_scopes, agent.id, agent.bundle.root)

    async def warm_up(self, agent: Agent) -> None:
        """Load what the first run of an agent would wait for."""
        for config in agent.configs:
            await warm(config)
        await unit(_derive, agent)
        self.runs.spawn(self.runs.mcp.warm(agent))

    def count_sessions(self) -> int:
        """Sessions that this process works on or streams."""
        listened = [name for name in self.hub.sessions() if not self.runs.owns_session(name)]
        return len(self.runs) + len(listened)

    def begin_end(self, grace: float) -> None:
        """Take no more runs; those that live have `grace` seconds, then all streams end."""
        self.runs.accepting = False
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(grace), name="ending")

    async def _end(self, grace: float) -> None:
        handing_over = asyncio.create_task(self.runs.close(grace))
        # A tool that does not let go keeps no stream open: the server would cut it off.
        await asyncio.wait({handing_over}, timeout=grace + STREAMS_SECONDS)
        self.hub.close()
        self.bus.close()
        await handing_over

    async def close(self) -> None:
        """End runs or hand them over, write what waits, let go of everything."""
        self.begin_end(0)
        if self._ending is not None:
            await self._ending
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.journal.close()
        await self.callers.close()
        await self.ledger.close()
        await close_clients()
        await self.runs.mcp.close()
        await close_guarded_client()
        await close_units()
        for export in self._exports:
            await asyncio.to_thread(export.shutdown)

    async def _tick(self) -> None:
        """Let streams look at the time; they send their keepalive themselves."""
        while True:
            await asyncio.sleep(settings.KEEPALIVE_SECONDS / 3)
            self.hub.wake_all()


def _derive(agent: Agent) -> None:
    """Make what is made once per version of an agent."""
    agent.models()
    _ = agent.specs(), agent.prompt, agent.window()
    main = agent.config()
    agent.price(main.provider, main.model, Usage(), dt.datetime.now(dt.UTC))


_site: Site | None = None


def site() -> Site:
    """The host of this process. Raises `RuntimeError` before startup."""
    if _site is None:
        raise RuntimeError("the host has not been started: serve agentsite.asgi with lifespan on")
    return _site


async def startup(*, private: bool = False) -> None:
    """Start the host. Raises `ManifestError` when there is nothing to serve.

    A private one leaves all runs alone that it has not started itself.
    """
    global _site
    agents = await asyncio.to_thread(
        Agents.discover,
        read_environ,
        agent_dir=settings.AGENT_DIR,
        agents_dir=settings.AGENTS_DIR,
        production=settings.PRODUCTION,
    )
    opened = Site(agents, private=private)
    await opened.open()
    _site = opened


def stopping(grace: float) -> None:
    """The end begins: open answers have `grace` seconds left."""
    if _site is not None:
        # What is left of the grace belongs to handing over and to the last frames.
        _site.begin_end(max(0.0, grace - HANDOVER_SECONDS))


async def shutdown() -> None:
    global _site
    if _site is not None:
        closing, _site = _site, None
        await closing.close()
